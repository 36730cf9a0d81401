//! Records per second through the spool: offered, synced, read and released again.

use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use siplens_backend::spool::{Record, Refused, Spool, SpoolConfig};

/// About what a HEP packet with an INVITE has.
const PACKET_LEN: usize = 950;

/// Records of one round.
const ROUND: u64 = 50_000;

fn record() -> Record {
    Record {
        received_at_us: 1_700_000_000_000_000,
        peer: ([127, 0, 0, 1], 9060).into(),
        transport: hep::Transport::Udp,
        hep: vec![b'x'; PACKET_LEN].into(),
    }
}

fn spool(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let config = SpoolConfig { dir: dir.path().join("spool"), ..SpoolConfig::default() };
    let (writer, mut reader) = Spool::open(config, None).expect("an empty directory");
    let handle = writer.handle();

    let mut group = criterion.benchmark_group("spool");
    group.sample_size(10).measurement_time(Duration::from_secs(10));

    group.throughput(Throughput::Elements(ROUND));
    group.bench_function("offer, sync, read, release", |bencher| {
        bencher.iter_custom(|rounds| {
            let begun = Instant::now();
            for _ in 0..rounds {
                std::thread::scope(|scope| {
                    scope.spawn(|| {
                        for _ in 0..ROUND {
                            while handle.offer(record()) == Err(Refused::Full) {
                                std::thread::yield_now();
                            }
                        }
                    });
                    let mut read = 0;
                    while read < ROUND {
                        let batch = reader.next_batch(10_000, 16 << 20, Duration::from_secs(1));
                        let batch = batch.expect("nothing but us touches the directory");
                        read += batch.records.len() as u64;
                        reader.release(batch.end).expect("nothing but us touches the directory");
                    }
                });
            }
            begun.elapsed()
        });
    });

    // What the threads of ingest pay; the thread that writes works beside them.
    group.throughput(Throughput::Elements(1000));
    group.bench_function("offer", |bencher| {
        bencher.iter_batched(
            || {
                while reader.position() < handle.durable() {
                    let batch = reader.next_batch(usize::MAX, usize::MAX, Duration::ZERO);
                    reader.release(batch.map(|batch| batch.end).unwrap_or_default()).ok();
                }
                (0..1000).map(|_| record()).collect::<Vec<_>>()
            },
            |records| records.into_iter().map(|record| handle.offer(record)).filter(Result::is_ok).count(),
            BatchSize::PerIteration,
        );
    });
    group.finish();
    writer.close().expect("a disk with room");
}

criterion_group!(benches, spool);
criterion_main!(benches);
