//! What a crash or a bad disk leaves of segments, and what is read of it.

use super::*;

#[test]
fn last_record_cut_at_any_octet_is_lost_alone_and_counted() {
    let dir = TempDir::new().unwrap();
    let config = config(&dir);
    fill(&config, 0..5);
    let [segment] = segments(&config.dir).try_into().unwrap();
    let whole = std::fs::read(&segment).unwrap();
    let last = record(4).hep.len() + 24;
    for left in 0..last {
        let len = whole.len() - last + left;
        std::fs::write(&segment, &whole[..len]).unwrap();
        let (all, stats) = reopen(&config, None);
        assert_eq!(all, records(0..4));
        assert_eq!(stats.cut_bytes, left as u64);
        assert_eq!(std::fs::read(&segment).unwrap(), &whole[..whole.len() - last], "what is left is whole");
    }
}

#[test]
fn zeros_behind_the_last_record_are_cut() {
    let dir = TempDir::new().unwrap();
    let config = config(&dir);
    fill(&config, 0..5);
    let [segment] = segments(&config.dir).try_into().unwrap();
    let mut octets = std::fs::read(&segment).unwrap();
    octets.resize(octets.len() + 3_000_000, 0);
    std::fs::write(&segment, octets).unwrap();
    let (all, stats) = reopen(&config, None);
    assert_eq!((all, stats.cut_bytes), (records(0..5), 3_000_000));
}

#[test]
fn flipped_bit_in_the_last_segment_cuts_it_there() {
    let dir = TempDir::new().unwrap();
    let config = config(&dir);
    fill(&config, 0..5);
    let [segment] = segments(&config.dir).try_into().unwrap();
    let mut octets = std::fs::read(&segment).unwrap();
    let at = octets.len() - record(4).hep.len() - 30;
    octets[at] ^= 0x10;
    std::fs::write(&segment, octets).unwrap();
    let (all, stats) = reopen(&config, None);
    assert_eq!(all, records(0..3));
    assert!(stats.cut_bytes > 0);
}

#[test]
fn damage_in_an_earlier_segment_is_counted_and_the_next_segment_read() {
    let dir = TempDir::new().unwrap();
    let config = SpoolConfig { segment_bytes: 1000, ..config(&dir) };
    fill(&config, 0..60);
    let paths = segments(&config.dir);
    let mut octets = std::fs::read(&paths[1]).unwrap();
    octets[HEADER_LEN as usize + 30] ^= 1;
    std::fs::write(&paths[1], &octets).unwrap();
    let (all, stats) = reopen(&config, None);
    assert_eq!(stats.bad_records, 1);
    assert_eq!(stats.cut_bytes, octets.len() as u64 - HEADER_LEN);
    let lost: Vec<_> = records(0..60).into_iter().filter(|record| !all.contains(record)).collect();
    assert!(!lost.is_empty() && lost.len() < 30, "only that segment is lost");
    assert_eq!(all.last(), Some(&record(59)));
}

#[test]
fn segment_with_a_bad_header_is_put_aside_and_an_empty_one_removed() {
    let dir = TempDir::new().unwrap();
    let config = config(&dir);
    fill(&config, 0..5);
    std::fs::write(path(&config.dir, 7), b"SLSPOOL").unwrap();
    std::fs::write(path(&config.dir, 8), [0xff; 100]).unwrap();
    let (all, stats) = reopen(&config, None);
    assert_eq!((all, stats.cut_bytes), (records(0..5), 107));
    assert!(!path(&config.dir, 7).exists());
    assert!(path(&config.dir, 8).with_extension("bad").exists());
}

#[test]
fn segment_of_a_later_version_stops_the_opening() {
    let dir = TempDir::new().unwrap();
    let config = config(&dir);
    fill(&config, 0..5);
    let [segment] = segments(&config.dir).try_into().unwrap();
    let mut octets = std::fs::read(&segment).unwrap();
    octets[8] = 3;
    std::fs::write(&segment, octets).unwrap();
    let refused = Spool::open(config, None).map(drop).unwrap_err();
    assert!(refused.to_string().ends_with("expected version 1 or 2, found 3"), "{refused}");
}

#[test]
fn a_number_that_none_can_follow_stops_the_opening_and_nothing_is_lost() {
    let dir = TempDir::new().unwrap();
    let config = config(&dir);
    fill(&config, 0..3);
    let beyond = Position { segment: u64::MAX, offset: 0 };
    let refused = |checkpoint| match Spool::open(config.clone(), checkpoint) {
        Err(SpoolError::Number { found, .. }) => assert_eq!(found, u64::MAX),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was opened"),
    };
    refused(Some(beyond));
    let stray = path(&config.dir, u64::MAX);
    std::fs::write(&stray, "anything").unwrap();
    refused(None);
    std::fs::remove_file(stray).unwrap();
    assert_eq!(reopen(&config, None).0, records(0..3));
}
