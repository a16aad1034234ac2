//! Takes secrets out of texts, also out of texts that come in pieces.

use model::{Change, Output, SECRET_MASK, StepReport, broken};

/// Lines of a secret with several lines are secrets too, from this length on: a diff shows lines one by one.
const LINE_BYTES_MIN: usize = 4;

/// Knows every secret of a recipe.
#[derive(Clone, Debug, Default)]
pub(crate) struct Masker {
    secrets: Vec<Vec<u8>>,
    first: Vec<u8>,
}

impl Masker {
    pub(crate) fn new(secrets: &[String]) -> Self {
        let secrets = if broken::leaves_out("mask-output") { &[] } else { secrets };
        let lines =
            secrets.iter().flat_map(|it| it.lines().map(str::trim)).filter(|it| it.len() >= LINE_BYTES_MIN);
        let mut secrets: Vec<Vec<u8>> = secrets
            .iter()
            .map(|it| it.trim_end_matches('\n'))
            .chain(lines)
            .filter(|it| !it.is_empty())
            .map(|it| it.as_bytes().to_vec())
            .collect();
        secrets.sort_unstable();
        secrets.dedup();
        let mut first: Vec<u8> = secrets.iter().map(|it| it[0]).collect();
        first.dedup();
        Self { secrets, first }
    }
    /// `text` without secrets.
    pub(crate) fn text(&self, text: &str) -> String {
        if !text.bytes().any(|it| self.first.contains(&it)) {
            return text.to_owned();
        }
        let mut stream = MaskStream::default();
        let mut masked = stream.push(self, text.as_bytes());
        masked.push_str(&stream.finish(self));
        masked
    }
    /// Every text of a report.
    pub(crate) fn report(&self, mut report: StepReport) -> StepReport {
        if self.secrets.is_empty() {
            return report;
        }
        report.id = self.text(&report.id);
        report.name = self.text(&report.name);
        report.comment = self.text(&report.comment);
        report.plan.changes = report.plan.changes.iter().map(|it| self.change(it)).collect();
        report.output = report.output.map(|it| self.output(&it));
        report
    }
    fn change(&self, change: &Change) -> Change {
        let text = |it: &Option<String>| it.as_ref().map(|it| self.text(it));
        Change {
            what: self.text(&change.what),
            from: text(&change.from),
            to: text(&change.to),
            diff: text(&change.diff),
        }
    }
    fn output(&self, output: &Output) -> Output {
        Output { stdout: self.text(&output.stdout), stderr: self.text(&output.stderr), ..output.clone() }
    }
    /// Length of the longest secret that `bytes` begins with.
    fn found(&self, bytes: &[u8]) -> Option<usize> {
        self.secrets.iter().filter(|it| bytes.starts_with(it)).map(Vec::len).max()
    }
    /// Whether a secret may begin here, and more bytes would tell.
    fn may_begin(&self, bytes: &[u8]) -> bool {
        self.secrets.iter().any(|it| it.len() > bytes.len() && it.starts_with(bytes))
    }
}

/// One stream of output on its way to a reader.
#[derive(Clone, Debug, Default)]
pub(crate) struct MaskStream {
    /// Not given out yet: a secret or a character may begin here.
    held: Vec<u8>,
    /// Bytes at the front of `held` that belong to a secret whose mask is written already.
    covered: usize,
    /// Masked bytes that end within a character.
    ready: Vec<u8>,
}

impl MaskStream {
    /// Takes a piece and gives what can be shown.
    pub(crate) fn push(&mut self, masker: &Masker, bytes: &[u8]) -> String {
        self.held.extend_from_slice(bytes);
        self.drain(masker, false);
        self.decode(false)
    }
    /// Gives the rest.
    pub(crate) fn finish(&mut self, masker: &Masker) -> String {
        self.drain(masker, true);
        self.decode(true)
    }

    fn drain(&mut self, masker: &Masker, last: bool) {
        let mut at = 0;
        while at < self.held.len() {
            let rest = &self.held[at..];
            if masker.first.contains(&rest[0]) {
                if !last && masker.may_begin(rest) {
                    break;
                }
                if let Some(length) = masker.found(rest) {
                    if self.covered <= at {
                        self.ready.extend_from_slice(SECRET_MASK.as_bytes());
                    }
                    self.covered = self.covered.max(at + length);
                }
            }
            if at >= self.covered {
                self.ready.push(self.held[at]);
            }
            at += 1;
        }
        self.held.drain(..at);
        self.covered = self.covered.saturating_sub(at);
    }

    fn decode(&mut self, last: bool) -> String {
        let keep = if last { 0 } else { unfinished(&self.ready) };
        let whole: Vec<u8> = self.ready.drain(..self.ready.len() - keep).collect();
        String::from_utf8_lossy(&whole).into_owned()
    }
}

/// Bytes at the end that are the beginning of a character.
fn unfinished(bytes: &[u8]) -> usize {
    let tail = &bytes[bytes.len().saturating_sub(3)..];
    let Some(start) = tail.iter().rposition(|it| *it >= 0xc0) else { return 0 };
    let wanted = match tail[start] {
        0xf0.. => 4,
        0xe0.. => 3,
        _ => 2,
    };
    let have = tail.len() - start;
    if have < wanted { have } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masker(secrets: &[&str]) -> Masker {
        Masker::new(&secrets.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>())
    }

    fn in_pieces(masker: &Masker, text: &str, size: usize) -> String {
        let mut stream = MaskStream::default();
        let mut all = String::new();
        for piece in text.as_bytes().chunks(size) {
            all.push_str(&stream.push(masker, piece));
        }
        all + &stream.finish(masker)
    }

    #[test]
    fn pieces_of_any_size_say_the_same_as_the_whole() {
        let masker = masker(&["hunter2", "hunter22x", "ter2 und", "ä€"]);
        for (text, wanted) in [
            ("a hunter2 b", "a «secret» b"),
            ("hunter22x", "«secret»"),
            ("hunter2", "«secret»"),
            ("hunter2 und so", "«secret» so"),
            ("huntehunter2hunter2", "hunte«secret»«secret»"),
            ("nur ä€ro und ö€", "nur «secret»ro und ö€"),
            ("hunte", "hunte"),
        ] {
            assert_eq!(masker.text(text), wanted);
            for size in 1..12 {
                assert_eq!(in_pieces(&masker, text, size), wanted, "{text} by {size}");
            }
        }
    }

    #[test]
    fn lines_of_a_secret_are_secret_too() {
        let masker = masker(&["-----BEGIN\nabcdef\n}\n"]);
        assert_eq!(masker.text("+abcdef\n+}\n"), "+«secret»\n+}\n");
    }

    #[test]
    fn broken_characters_do_not_stop_the_stream() {
        let mut stream = MaskStream::default();
        let none = Masker::default();
        assert_eq!(stream.push(&none, b"a\xff\xe2\x82"), "a\u{fffd}");
        assert_eq!(stream.push(&none, b"\xac!"), "€!");
        assert_eq!(stream.push(&none, b"\xe2"), "");
        assert_eq!(stream.finish(&none), "\u{fffd}");
    }
}
