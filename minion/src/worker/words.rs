//! What a worker says, a JSON object a line. The last word is what came of the run: it waits for room on a full disk.

use super::Said;
use std::io::{self, ErrorKind, Write};
use std::time::Duration;

/// Between two tries to say the last word on a full disk.
const ROOM_EVERY: Duration = Duration::from_secs(1);
/// Tries: for less time than a worker may be silent.
const ROOM_TRIES_MAX: u32 = 3000;

/// Says it, or a part of it: what is said next may begin in the middle of a line.
pub(super) fn say(output: &mut dyn Write, said: &Said) -> io::Result<()> {
    let mut line = serde_json::to_vec(said)?;
    line.push(b'\n');
    output.write_all(&line)?;
    output.flush()
}

/// Says it whole, in a line of its own.
pub(super) fn say_last(output: &mut dyn Write, said: &Said) -> io::Result<()> {
    say_with_room(output, said, &mut || std::thread::sleep(ROOM_EVERY))
}

fn say_with_room(output: &mut dyn Write, said: &Said, pause: &mut dyn FnMut()) -> io::Result<()> {
    let mut line = vec![b'\n'];
    serde_json::to_writer(&mut line, said)?;
    line.push(b'\n');
    let (mut rest, mut tries) = (&line[..], 0);
    loop {
        // What was buffered may find no room either.
        let done = if rest.is_empty() { output.flush().map(|()| 0) } else { output.write(rest) };
        match done {
            Ok(_) if rest.is_empty() => return Ok(()),
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(length) => rest = &rest[length..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if is_full(&error) && tries < ROOM_TRIES_MAX => {
                tries += 1;
                pause();
            }
            Err(error) => return Err(error),
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{RunEnd, RunLine};
    use std::cell::{Cell, RefCell};

    /// A disk that takes some bytes at a time and then has no more room.
    struct Tight<'a> {
        taken: &'a RefCell<Vec<u8>>,
        room: &'a Cell<usize>,
    }

    impl Write for Tight<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let length = bytes.len().min(self.room.get());
            if length == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            self.room.set(self.room.get() - length);
            self.taken.borrow_mut().extend_from_slice(&bytes[..length]);
            Ok(length)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_end_of_a_run_waits_for_room_and_is_whole_though_a_line_before_it_is_not() {
        let (taken, room) = (RefCell::new(Vec::new()), Cell::new(30));
        let mut output = Tight { taken: &taken, room: &room };
        let line = Said::Line(RunLine::Output { stderr: false, text: "x".repeat(100) });
        assert!(say(&mut output, &line).is_err());
        let end = Said::End(RunEnd::Fault { reason: "y".repeat(100) });
        say_with_room(&mut output, &end, &mut || room.set(7)).unwrap();
        let text = String::from_utf8(taken.take()).unwrap();
        let last = text.lines().last().unwrap();
        assert_eq!(serde_json::from_str::<Said>(last).unwrap(), end, "{text}");
    }

    #[test]
    fn room_is_not_awaited_for_ever() {
        let (taken, room) = (RefCell::new(Vec::new()), Cell::new(0));
        let mut tries = 0;
        let end = Said::End(RunEnd::Fault { reason: String::new() });
        let said = say_with_room(&mut Tight { taken: &taken, room: &room }, &end, &mut || tries += 1);
        assert_eq!(said.unwrap_err().kind(), ErrorKind::StorageFull);
        assert_eq!(tries, ROOM_TRIES_MAX);
    }
}
