//! Log lines on their way from a sender's process to one that may log.

use std::io::{self, Read, Write};

use capture::{Event, Level};

/// Octets of the longest line; what a longer one has more is cut off.
const LONGEST: usize = 1024;

/// Writes one line.
///
/// # Errors
/// What writing reports.
pub fn tell(to: &mut impl Write, event: &Event) -> io::Result<()> {
    let mark = match event.level {
        Level::Notice => b'N',
        Level::Warning => b'W',
    };
    let mut line = vec![mark];
    line.extend(event.text.bytes().map(|octet| if octet == b'\n' { b' ' } else { octet }).take(LONGEST));
    line.push(b'\n');
    to.write_all(&line)
}

/// Puts lines together that arrive in pieces.
#[derive(Debug, Default)]
pub struct Lines {
    part: Vec<u8>,
}

/// What a look at the stream found.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// These lines, perhaps none.
    Events(Vec<Event>),
    /// The other side has gone.
    End,
}

impl Lines {
    /// Reads once, which waits if there is nothing.
    pub fn hear(&mut self, from: &mut impl Read) -> Heard {
        let mut octets = [0; 4096];
        let read = match from.read(&mut octets) {
            Ok(0) => return Heard::End,
            Ok(read) => read,
            Err(error) if waits(error.kind()) => 0,
            Err(_lost) => return Heard::End,
        };
        let mut events = Vec::new();
        for &octet in octets.iter().take(read) {
            if octet == b'\n' {
                events.extend(event(&std::mem::take(&mut self.part)));
            } else if self.part.len() <= LONGEST {
                self.part.push(octet);
            }
        }
        Heard::Events(events)
    }
}

fn waits(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

fn event(line: &[u8]) -> Option<Event> {
    let (mark, text) = line.split_first()?;
    let level = if *mark == b'N' { Level::Notice } else { Level::Warning };
    Some(Event { level, text: String::from_utf8_lossy(text).into_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_arrive_whole_though_they_come_in_pieces() {
        let event = |level, text: &str| Event { level, text: text.to_owned() };
        let mut wire = Vec::new();
        tell(&mut wire, &event(Level::Notice, "one")).unwrap();
        tell(&mut wire, &event(Level::Warning, "two\nlines")).unwrap();
        tell(&mut wire, &event(Level::Warning, &"x".repeat(2 * LONGEST))).unwrap();
        let mut lines = Lines::default();
        let mut heard = Vec::new();
        for piece in wire.chunks(5) {
            if let Heard::Events(events) = lines.hear(&mut &piece[..]) {
                heard.extend(events);
            }
        }
        assert_eq!(heard[..2], [event(Level::Notice, "one"), event(Level::Warning, "two lines")]);
        assert_eq!(heard[2].text.len(), LONGEST);
        assert_eq!(lines.hear(&mut &[][..]), Heard::End);
    }
}
