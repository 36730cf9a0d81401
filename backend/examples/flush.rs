//! What a flush costs, stage by stage, for a tool that counts instructions: what two numbers of flushes differ by, divided.
//!
//! `STAGE FLUSHES DICTIONARY`: takes so many flushes of 20,000 messages of the traffic of `siplens bench` as far as that
//! stage: `none`, `read` (HEP and SIP), `cut` (into slices, compressed), `pages` (of postings), `merge` (of all segments,
//! ten to one), `store` (without merging, into an embedded store on `/dev/shm`). The dictionary is read from that file,
//! which is made if it isn't there.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use siplens_backend::bench::Packets;
use siplens_backend::call::event::EventPaths;
use siplens_backend::decode::decode;
use siplens_backend::spool::{Position, Record};
use siplens_backend::store::firsts::Firsts;
use siplens_backend::store::postings::{self, Merged, Merger, Page, Segment};
use siplens_backend::store::slice::{Cut, Cutter, Item};
use siplens_backend::store::sqlite::SqliteStore;
use siplens_backend::store::{Dictionary, Flush, Pack, Store};
use siplens_backend::tenant::Tenants;

type Failure = Box<dyn std::error::Error>;

/// Messages of a flush.
const MESSAGES: usize = 20_000;

/// Messages a second, by their times of capture.
const PER_SECOND: u32 = 1000;

/// Flushes that are made of packets, however many are then worked on: so that the making costs the same in each run.
const MADE: usize = 12;

const FIRST_US: i64 = 1_700_000_000_000_000;

#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
enum Stage {
    None,
    Read,
    Cut,
    Pages,
    Merge,
    Store,
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [stage, flushes, dictionary] = *words.as_slice() else {
        return Err("usage: none|read|cut|pages|merge|store FLUSHES DICTIONARY".into());
    };
    let stage = match stage {
        "none" => Stage::None,
        "read" => Stage::Read,
        "cut" => Stage::Cut,
        "pages" => Stage::Pages,
        "merge" => Stage::Merge,
        "store" => Stage::Store,
        other => return Err(format!("no such stage: {other}").into()),
    };
    let flushes: usize = flushes.parse()?;
    let mut packets = Packets::new(1, PER_SECOND, 1000, FIRST_US);
    let made: Vec<Vec<Record>> = (0..MADE).map(|_| records(&mut packets)).collect::<Result<_, _>>()?;
    let cutter = Cutter {
        dictionary: Some(Arc::new(dictionary_in(dictionary.as_ref(), &made[0])?)),
        ..Cutter::default()
    };
    let files = tempfile::tempdir_in("/dev/shm")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let store = runtime.block_on(SqliteStore::open(files.path(), "spool"))?;

    let mut done = Done::default();
    for (number, records) in (1..).zip(made.iter().cycle().take(flushes)) {
        let items = if stage >= Stage::Read { read(records)? } else { Vec::new() };
        let Cut { packs, content_bytes, blob_bytes, .. } =
            if stage >= Stage::Cut { cutter.cut_items(&items, 1) } else { Cut::default() };
        done.messages += items.len();
        let slices: Vec<_> = packs.iter().flat_map(|pack| &pack.slices).collect();
        done.slices += slices.len();
        done.keys += slices.iter().map(|slice| slice.keys.len()).sum::<usize>();
        done.content_bytes += content_bytes;
        done.blob_bytes += blob_bytes;
        if matches!(stage, Stage::Pages | Stage::Merge) {
            let pages = pages(&packs, &mut done);
            done.segments.push((Segment { number, level: 0 }, pages));
            if stage == Stage::Merge {
                done.merge()?;
            }
        }
        if stage == Stage::Store {
            let end = Position { segment: 1, offset: number.unsigned_abs() };
            runtime.block_on(store.write(&Flush { packs, end }))?;
        }
    }
    done.print()
}

/// What was done.
#[derive(Default)]
struct Done {
    messages: usize,
    slices: usize,
    keys: usize,
    content_bytes: usize,
    blob_bytes: usize,
    page_bytes: usize,
    rows: u32,
    firsts: Firsts,
    segments: Vec<(Segment, Vec<Page>)>,
}

impl Done {
    /// Merges what is due.
    fn merge(&mut self) -> Result<(), Failure> {
        let live: Vec<_> = self.segments.iter().map(|(segment, _)| *segment).collect();
        let Some((merged, level)) = postings::due(&live) else { return Ok(()) };
        let number = live.iter().map(|segment| segment.number).max().unwrap_or(0);
        let (inputs, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.segments).into_iter().partition(|(segment, _)| merged.contains(segment));
        let mut inputs: Vec<_> = inputs.into_iter().map(|(_, pages)| pages.into_iter()).collect();
        let mut merger = Merger::new(inputs.len());
        let mut pages = Vec::new();
        loop {
            match merger.step() {
                Merged::Needs(input) => merger.feed(input, inputs[input].next().as_ref())?,
                Merged::Page(page) => pages.push(page),
                Merged::End => break,
            }
        }
        self.segments = kept;
        self.segments.push((Segment { number, level }, pages));
        Ok(())
    }

    fn print(self) -> Result<(), Failure> {
        let each = |octets: usize| octets as f64 / self.messages.max(1) as f64;
        let live: usize = self.segments.iter().flat_map(|(_, pages)| pages).map(|page| page.data.len()).sum();
        writeln!(
            std::io::stdout(),
            "{} messages; a message: {:.3} slices, {:.2} keys; octets: {:.1} content, {:.1} blobs, {:.1} pages, {:.1} after merging",
            self.messages,
            each(self.slices),
            each(self.keys),
            each(self.content_bytes),
            each(self.blob_bytes),
            each(self.page_bytes),
            each(live)
        )?;
        Ok(())
    }
}

fn records(packets: &mut Packets) -> Result<Vec<Record>, Failure> {
    let peer = "127.0.0.1:9060".parse()?;
    let mut records = Vec::with_capacity(MESSAGES);
    for _ in 0..MESSAGES {
        let hep = packets.next_packet()?.to_vec().into();
        records.push(Record { received_at_us: FIRST_US, peer, transport: hep::Transport::Tcp, hep });
    }
    Ok(records)
}

fn read(records: &[Record]) -> Result<Vec<Item<'_>>, Failure> {
    let (tenants, paths) = (Tenants::default(), EventPaths::default());
    let read = |record| Ok(Item::read(decode(record, 65_536, &tenants)?, &paths));
    records.iter().map(read).collect()
}

fn pages(packs: &[Pack], done: &mut Done) -> Vec<Page> {
    let firsts = done.firsts.keys(1, packs);
    let slices = packs.iter().flat_map(|pack| &pack.slices).zip(firsts);
    let pages = postings::segment((done.rows..).zip(slices).map(|(row, (slice, first))| (row, slice, first)));
    done.rows += u32::try_from(packs.iter().map(|pack| pack.slices.len()).sum::<usize>()).unwrap_or(u32::MAX);
    done.page_bytes += pages.iter().map(|page| page.data.len()).sum::<usize>();
    pages
}

fn dictionary_in(file: &Path, records: &[Record]) -> Result<Dictionary, Failure> {
    if !file.exists() {
        let cutter = Cutter { sample_bytes: 2 << 20, ..Cutter::default() };
        let Cut { samples, lengths, .. } = cutter.cut_items(&read(records)?, 1);
        let trained = Dictionary::train(&samples, &lengths, 65_536, FIRST_US)?;
        std::fs::write(file, trained.octets())?;
    }
    Ok(Dictionary::read(std::fs::read(file)?, FIRST_US)?)
}
