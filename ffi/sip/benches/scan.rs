//! Messages per second and core.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// An INVITE through one proxy, with SDP: 14 headers, a little above the mean of real traffic.
const INVITE: &[u8] = b"INVITE sip:+4930123456@192.0.2.20:5060;transport=udp SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bKcydzigwkX.1f3c0a7e\r\n\
    Via: SIP/2.0/UDP 198.51.100.7:5061;received=198.51.100.7;rport=5061;branch=z9hG4bK-524287-1---a1b2c3d4\r\n\
    Max-Forwards: 69\r\n\
    Record-Route: <sip:192.0.2.10;lr;ftag=8f2a91c4>\r\n\
    From: \"Alice Example\" <sip:alice@example.com>;tag=8f2a91c4\r\n\
    To: <sip:+4930123456@example.com>\r\n\
    Call-ID: 97842NGQ4YzA5ZjYxMGU3YjM2ZTk0ZDE@198.51.100.7\r\n\
    CSeq: 2 INVITE\r\n\
    Contact: <sip:alice@198.51.100.7:5061;transport=udp>\r\n\
    Allow: INVITE, ACK, CANCEL, BYE, NOTIFY, REFER, MESSAGE, OPTIONS, INFO, SUBSCRIBE\r\n\
    User-Agent: Example Softphone 5.4.2\r\n\
    Content-Type: application/sdp\r\n\
    Content-Length: 201\r\n\
    \r\n\
    v=0\r\n\
    o=- 1700000000 1 IN IP4 198.51.100.7\r\n\
    s=-\r\n\
    c=IN IP4 198.51.100.7\r\n\
    t=0 0\r\n\
    m=audio 40000 RTP/AVP 8 0 101\r\n\
    a=rtpmap:8 PCMA/8000\r\n\
    a=rtpmap:0 PCMU/8000\r\n\
    a=rtpmap:101 telephone-event/8000\r\n\
    a=sendrecv\r\n";

fn scan(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("invite");
    group.throughput(Throughput::Elements(1));
    group.bench_function("parse", |bencher| bencher.iter(|| sip::parse(black_box(INVITE))));
    group.bench_function("parse and read what is indexed", |bencher| {
        bencher.iter(|| {
            let message = sip::parse(black_box(INVITE)).ok()?;
            black_box((
                message.start(),
                message.call_id(),
                message.cseq(),
                message.branch(),
                message.user_agent(),
            ));
            black_box((message.from(), message.to(), message.contact()));
            Some(message.body().len())
        });
    });
    group.bench_function("call_id", |bencher| bencher.iter(|| sip::call_id(black_box(INVITE))));
    group.finish();
}

criterion_group!(benches, scan);
criterion_main!(benches);
