//! Packets per second and core, of the size a proxy sends.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hep::{Packet, Payload, Timestamp, Transport};

/// About what an INVITE with SDP has.
const PAYLOAD_LEN: usize = 900;

fn sample(payload: &[u8]) -> Packet<'_> {
    Packet {
        ip_family: Some(2),
        ip_protocol: Some(17),
        src_ip: Some([192, 0, 2, 1].into()),
        dst_ip: Some([192, 0, 2, 2].into()),
        src_port: Some(5060),
        dst_port: Some(5060),
        time: Some(Timestamp { seconds: 1_700_000_000, microseconds: 123_456 }),
        protocol_type: Some(1),
        agent_id: Some(2001),
        correlation_id: Some(b"our-session-id"),
        transport: Some(Transport::Udp),
        payload: Payload::Plain(payload),
        ..Packet::default()
    }
}

fn codec(criterion: &mut Criterion) {
    let payload = [b'x'; PAYLOAD_LEN];
    let packet = sample(&payload);
    let mut wire = Vec::new();
    let len = hep::encode(&packet, &mut wire).expect("the sample is short");

    let mut group = criterion.benchmark_group("hep3");
    group.throughput(Throughput::Elements(1));
    group.bench_function("decode", |bencher| bencher.iter(|| hep::decode(black_box(&wire))));
    let mut out = Vec::with_capacity(len);
    group.bench_function("encode", |bencher| {
        bencher.iter(|| {
            out.clear();
            hep::encode(black_box(&packet), &mut out)
        });
    });
    let mut slice = vec![0; len];
    group.bench_function("encode_into", |bencher| {
        bencher.iter(|| hep::encode_into(black_box(&packet), black_box(&mut slice)));
    });
    group.bench_function("frame", |bencher| bencher.iter(|| hep::framing::frame(black_box(&wire))));
    group.finish();
}

criterion_group!(benches, codec);
criterion_main!(benches);
