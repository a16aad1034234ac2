//! The audit log's chain: how a line hangs on the one before it, and a walk that finds the first that does not.

use model::{Audit, AuditBreak, AuditCheck, AuditLine, Caller, ContentHash, Timestamp};
use sha2::{Digest as _, Sha256};

/// Who writes the store's own lines; nobody else can come by that way.
const STORE: (&str, &str) = ("labmaster", "store");
/// What the store says when it removes old lines, before the number of the last; the result is that one's hash.
const REMOVED: &str = "remove old audit lines up to ";
/// What the store says when it begins to keep the end of the log on record, beside the log.
const BEGUN: &str = "keep the end of the audit log on record";
/// The result of that line where an older release had removed lines by age without a word, before the number of the last.
const PRUNED: &str = "an older release removed lines up to ";
/// The audit log is kept at least so long, in milliseconds.
pub const KEPT_MS: u64 = 365 * 24 * 3600 * 1000;
/// The first line that a removal by age left may be so much younger than that: nobody wrote for as long before it, or
/// the last removal was so long ago.
const PRUNED_SLACK_MS: u64 = 31 * 24 * 3600 * 1000;
/// What the store says at its start when the log ended elsewhere than its record of the end.
const TORN: &str = "the audit log does not end where it did";

/// Hash of a line that follows the one with hash `before`.
pub fn link(before: &ContentHash, text: &str) -> ContentHash {
    ContentHash(Sha256::new().chain_update(before.0).chain_update(text).finalize().into())
}

fn by_store(at: Timestamp, what: String, result: String) -> Audit {
    let caller = Caller::new(STORE.0, STORE.1, "");
    Audit { at, caller, what, result }
}

/// The line that says that old ones were removed: by it a removal by age is told from tampering.
pub fn removal(at: Timestamp, upto: u64, hash: &ContentHash) -> Audit {
    by_store(at, format!("{REMOVED}{upto}"), hash.to_string())
}

/// The line that says since when the end of the log is on record beside it. An older release removed lines by age without
/// a word: where `first` (number, time and the hash before it) shows that such lines are missing as age may have removed,
/// this says so once; a log that begins with younger lines was cut, and gets no such word.
pub fn beginning(at: Timestamp, first: Option<(u64, Timestamp, ContentHash)>) -> Audit {
    let aged = |it: &(u64, Timestamp, ContentHash)| {
        it.0 > 1 && at.since_ms(it.1) >= KEPT_MS.saturating_sub(PRUNED_SLACK_MS)
    };
    let result = first.filter(aged).map(|(number, _, before)| format!("{PRUNED}{} {before}", number - 1));
    by_store(at, BEGUN.to_owned(), result.unwrap_or_else(|| "accepted".to_owned()))
}

fn pruned(result: &str) -> Option<(u64, ContentHash)> {
    let (upto, before) = result.strip_prefix(PRUNED)?.split_once(' ')?;
    Some((upto.parse().ok()?, before.parse().ok()?))
}

/// The line that says that the log was found shorter, longer or other than it was left.
pub fn tear(at: Timestamp, recorded: u64, found: u64) -> Audit {
    by_store(at, TORN.to_owned(), format!("the record says line {recorded}, the log says line {found}"))
}

/// A walk over lines, oldest first.
#[derive(Debug, Default)]
pub struct Walk {
    found: AuditCheck,
    /// Hash before the first line.
    start: Option<ContentHash>,
    removed: Option<(u64, ContentHash)>,
    begun: bool,
}

impl Walk {
    /// Takes the next line; false once the chain is broken.
    pub fn step(&mut self, line: &AuditLine) -> bool {
        if self.found.broken.is_none() {
            match self.judge(line) {
                Ok(at) => self.take(line, at),
                Err(why) => self.break_at(line.number, why),
            }
        }
        self.found.broken.is_none()
    }

    /// Number of the last line that was taken.
    pub fn last(&self) -> u64 {
        self.found.last.map_or(0, |it| it.0)
    }

    /// Number of the first line that was taken.
    pub fn first(&self) -> Option<u64> {
        self.found.first.map(|it| it.0)
    }

    fn break_at(&mut self, number: u64, why: String) {
        self.found.broken.get_or_insert(AuditBreak { number, why });
    }

    fn judge(&mut self, line: &AuditLine) -> Result<Timestamp, String> {
        if let Some((last, _)) = self.found.last {
            if line.number <= last {
                return Err(format!("it stands after line {last}"));
            }
            if line.number > last + 1 {
                let gap = format!("{} to {}", last + 1, line.number - 1);
                return Err(format!("the lines before it are missing ({gap})"));
            }
        }
        if self.found.head.is_some_and(|it| it != line.before) {
            return Err("it does not hang on the line before it".to_owned());
        }
        if link(&line.before, &line.text) != line.hash {
            return Err("its text or its hash was altered".to_owned());
        }
        let audit: Audit =
            serde_json::from_str(&line.text).map_err(|error| format!("it is no record: {error}"))?;
        if audit.at != line.at {
            return Err("its time was altered".to_owned());
        }
        self.heed(&audit)?;
        Ok(audit.at)
    }

    /// What the store itself says in the log.
    fn heed(&mut self, audit: &Audit) -> Result<(), String> {
        if (audit.caller.name.as_str(), audit.caller.via.as_str()) != STORE {
            return Ok(());
        }
        if audit.what == TORN {
            return Err(format!("the master found at its start: {}", audit.result));
        }
        if audit.what == BEGUN {
            if std::mem::replace(&mut self.begun, true) {
                return Err("the record of the log's end was gone when the master started".to_owned());
            }
            // One that removed lines since, and said so, knows better.
            self.removed = self.removed.or(pruned(&audit.result));
        }
        let upto = audit.what.strip_prefix(REMOVED).and_then(|it| it.parse().ok());
        if let Some((upto, hash)) = upto.zip(audit.result.parse().ok()) {
            self.removed = Some((upto, hash));
        }
        Ok(())
    }

    fn take(&mut self, line: &AuditLine, at: Timestamp) {
        self.found.lines += 1;
        self.found.first.get_or_insert((line.number, at));
        self.start.get_or_insert(line.before);
        self.found.last = Some((line.number, at));
        self.found.head = Some(line.hash);
    }

    /// Of a part of a log, such as a file that begins in the middle: what came before is not judged.
    pub fn finish_part(mut self) -> AuditCheck {
        self.found.removed = self.removed.map(|it| it.0);
        self.found
    }

    /// Of a whole log: it begins at line 1, or where the newest removal by age says, and ends at `end` (number, and
    /// the beginning of the hash as [`brief`] has it).
    pub fn finish(mut self, end: Option<(u64, i64)>) -> AuditCheck {
        if self.found.broken.is_none() {
            self.judge_start();
            self.judge_end(end);
        }
        self.finish_part()
    }

    fn judge_start(&mut self) {
        let Some(((first, _), before)) = self.found.first.zip(self.start) else { return };
        let expected = self.removed.unwrap_or((0, ContentHash([0; 32])));
        if first == expected.0 + 1 && before == expected.1 {
            return;
        }
        let why = match self.removed {
            None => format!("lines 1 to {} are missing, and no removal by age is on record", first - 1),
            Some((upto, _)) => {
                format!("the log must begin after line {upto}: lines up to there were removed")
            }
        };
        self.break_at(
            first,
            if first == 1 { "it is not the first line that was written".to_owned() } else { why },
        );
    }

    fn judge_end(&mut self, end: Option<(u64, i64)>) {
        let last = self.last();
        match end {
            None if last == 0 => {}
            None => self.break_at(last, "the record of the log's end is missing".to_owned()),
            Some((number, _)) if number > last => {
                let why = format!("lines {} to {number} are missing at the end", last + 1);
                self.break_at(last + 1, why);
            }
            Some((number, _)) if number < last => {
                self.break_at(number + 1, "it was added at the end by somebody else".to_owned());
            }
            Some((_, hash)) => {
                if self.found.head.is_some_and(|it| brief(&it) != hash) {
                    self.break_at(last, "it is not the last line that was written".to_owned());
                }
            }
        }
    }
}

/// The first eight bytes of a hash as a number, for the store's record of the end.
pub fn brief(hash: &ContentHash) -> i64 {
    let mut first = [0; 8];
    first.copy_from_slice(&hash.0[..8]);
    i64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audit(number: u64) -> Audit {
        let caller = Caller::new("ann", "socket uid=1000", "admin");
        Audit {
            at: Timestamp(number * 10),
            caller,
            what: format!("gc {number}"),
            result: "accepted".to_owned(),
        }
    }

    fn add(lines: &mut Vec<AuditLine>, audit: &Audit) {
        let (number, before) = lines.last().map_or((1, ContentHash([0; 32])), |it| (it.number + 1, it.hash));
        let text = serde_json::to_string(audit).unwrap();
        let hash = link(&before, &text);
        lines.push(AuditLine { number, at: audit.at, before, hash, text });
    }

    fn log(count: u64) -> Vec<AuditLine> {
        let mut lines = Vec::new();
        (1..=count).for_each(|number| add(&mut lines, &audit(number)));
        lines
    }

    fn end(lines: &[AuditLine]) -> Option<(u64, i64)> {
        lines.last().map(|it| (it.number, brief(&it.hash)))
    }

    fn walk(lines: &[AuditLine], end: Option<(u64, i64)>) -> AuditCheck {
        let mut walk = Walk::default();
        for line in lines {
            walk.step(line);
        }
        walk.finish(end)
    }

    fn broken(lines: &[AuditLine], end: Option<(u64, i64)>) -> Option<u64> {
        walk(lines, end).broken.map(|it| it.number)
    }

    #[test]
    fn a_whole_log_is_told_with_its_first_and_last_line() {
        let lines = log(3);
        let check = walk(&lines, end(&lines));
        let (first, last) = (Some((1, Timestamp(10))), Some((3, Timestamp(30))));
        let head = Some(lines[2].hash);
        assert_eq!(check, AuditCheck { lines: 3, first, last, head, removed: None, broken: None });
        assert_eq!(walk(&[], None), AuditCheck::default(), "an empty log is a good one");
    }

    type Tampering = fn(&mut Vec<AuditLine>);

    #[test]
    fn every_tampering_is_found_at_its_line() {
        let cases: &[(&str, Tampering, u64)] = &[
            ("text", |it| it[2].text = it[2].text.replace("gc 3", "gc 4"), 3),
            ("time", |it| it[2].at = Timestamp(31), 3),
            ("hash", |it| it[2].hash = ContentHash([1; 32]), 3),
            ("before", |it| it[2].before = ContentHash([1; 32]), 3),
            ("number", |it| it[2].number = 9, 9),
            ("reordered", |it| it.swap(2, 3), 4),
            (
                "two texts exchanged",
                |it| {
                    let other = it[3].text.clone();
                    it[3].text = std::mem::replace(&mut it[2].text, other);
                },
                3,
            ),
            ("one deleted", |it| drop(it.remove(2)), 4),
            ("the first deleted", |it| drop(it.remove(0)), 2),
            ("the last deleted", |it| drop(it.pop()), 5),
            ("all deleted", Vec::clear, 1),
            ("one written twice", |it| it.insert(2, it[2].clone()), 3),
            (
                "one put in between",
                |it| {
                    let mut more = it[..2].to_vec();
                    add(&mut more, &audit(7));
                    it.insert(2, more[2].clone());
                },
                3,
            ),
            ("one added at the end", |it| add(it, &audit(6)), 6),
            (
                "the end written anew",
                |it| {
                    it.truncate(3);
                    add(it, &audit(40));
                    add(it, &audit(50));
                },
                5,
            ),
            (
                "all written anew",
                |it| {
                    it.clear();
                    (0..5).for_each(|number| add(it, &audit(number)));
                },
                5,
            ),
        ];
        for (name, tamper, line) in cases {
            let mut lines = log(5);
            let end = end(&lines);
            tamper(&mut lines);
            assert_eq!(broken(&lines, end), Some(*line), "{name}");
        }
    }

    #[test]
    fn what_was_removed_by_age_is_told_from_what_was_deleted_by_hand() {
        let mut lines = log(5);
        let removed = removal(Timestamp(60), 2, &lines[1].hash);
        add(&mut lines, &removed);
        let end = end(&lines);
        let check = walk(&lines[2..], end);
        assert_eq!((check.broken, check.removed, check.lines), (None, Some(2), 4));
        assert_eq!(broken(&lines[3..], end), Some(4), "one more");
        assert_eq!(broken(&lines[1..], end), Some(2), "one less");
        let mut foreign = log(5);
        let mut lie = removed;
        lie.caller.via = "10.0.0.1 token=labmaster".to_owned();
        add(&mut foreign, &lie);
        assert_eq!(broken(&foreign[2..], self::end(&foreign)), Some(3), "only the store's own word counts");
    }

    /// A log of an older release with a line a day, of which the first ones are gone; then a newer release takes it over.
    fn taken_over(days: u64, gone: usize) -> Vec<AuditLine> {
        const DAY: u64 = 24 * 3600 * 1000;
        let mut lines = Vec::new();
        for day in 1..=days {
            add(&mut lines, &Audit { at: Timestamp(day * DAY), ..audit(day) });
        }
        lines.drain(..gone);
        let first = &lines[0];
        let notice = beginning(Timestamp(days * DAY), Some((first.number, first.at, first.before)));
        add(&mut lines, &notice);
        lines
    }

    #[test]
    fn what_an_older_release_removed_by_age_without_a_word_is_told_from_a_cut() {
        for (days, gone, broken_at) in [
            (400, 0, None),
            (400, 34, None),
            (400, 40, None),
            (400, 100, Some(101)),
            (400, 399, Some(400)),
            (20, 0, None),
            (20, 1, Some(2)),
        ] {
            let lines = taken_over(days, gone);
            assert_eq!(broken(&lines, end(&lines)), broken_at, "{gone} of {days} days");
        }
        // What is cut after that is found, whatever the notice says.
        let lines = taken_over(400, 34);
        let end = end(&lines);
        assert_eq!(walk(&lines, end).removed, Some(34));
        assert_eq!(broken(&lines[1..], end), Some(36));
        assert_eq!(broken(&lines[300..], end), Some(335));
        // And a removal by age since then says where the log begins now.
        let mut later = taken_over(400, 34);
        let removed = removal(Timestamp(500 * 24 * 3600 * 1000), 40, &later[5].hash);
        add(&mut later, &removed);
        assert_eq!(broken(&later[6..], self::end(&later)), None);
        assert_eq!(broken(&later, self::end(&later)), Some(35), "lines that were removed are there again");
    }

    #[test]
    fn a_log_that_was_cut_while_the_master_was_away_stays_broken() {
        let mut lines = log(2);
        add(&mut lines, &tear(Timestamp(50), 7, 2));
        add(&mut lines, &audit(9));
        let check = walk(&lines, end(&lines));
        assert_eq!(check.broken.map(|it| it.number), Some(3));
        let mut twice = log(1);
        add(&mut twice, &beginning(Timestamp(5), None));
        assert_eq!(broken(&twice, end(&twice)), None, "once, at an upgrade");
        add(&mut twice, &beginning(Timestamp(5), None));
        assert_eq!(broken(&twice, end(&twice)), Some(3), "the record was taken away");
    }

    #[test]
    fn a_part_of_a_log_is_judged_from_its_first_line_on() {
        let mut lines = log(5);
        let part = |lines: &[AuditLine]| {
            let mut walk = Walk::default();
            let _ = lines.iter().all(|it| walk.step(it));
            walk.finish_part().broken.map(|it| it.number)
        };
        assert_eq!(part(&lines[2..]), None);
        lines[4].text.push(' ');
        assert_eq!(part(&lines[2..]), Some(5));
    }
}
