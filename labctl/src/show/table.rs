//! Tables as kubectl and docker draw them: two spaces, capitals in the head, nothing that awk would trip over.

use super::{Style, Tone};
use crate::{
    Outcome,
    cli::Global,
    failure::{Failure, did_you_mean},
};
use unicode_width::UnicodeWidthStr;

/// A column is never shrunk below this.
const SHRUNK_MIN: usize = 8;

/// One column.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    name: &'static str,
    wide: bool,
    right: bool,
    free: bool,
}

impl Column {
    pub(crate) const fn new(name: &'static str) -> Self {
        Self { name, wide: false, right: false, free: false }
    }
    /// Only with `-o wide`.
    pub(crate) const fn wide(self) -> Self {
        Self { wide: true, ..self }
    }
    /// Numbers.
    pub(crate) const fn right(self) -> Self {
        Self { right: true, ..self }
    }
    /// Free text, shrunk where the terminal is narrow.
    pub(crate) const fn free(self) -> Self {
        Self { free: true, ..self }
    }
}

/// One field.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    pub(crate) fn of(tone: Tone, text: impl Into<String>) -> Self {
        let text: String = text.into();
        Self { text: text.replace(char::is_control, "\u{fffd}"), tone }
    }
}
impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::of(Tone::Plain, text)
    }
}
impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::of(Tone::Plain, text)
    }
}

/// Columns and rows.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

/// What of a table is wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shape {
    pub(crate) wide: bool,
    pub(crate) no_headers: bool,
    pub(crate) columns: Vec<String>,
    pub(crate) sort: Option<String>,
    pub(crate) reverse: bool,
}

impl Shape {
    pub(crate) fn of(global: &Global, wide: bool, _terminal: bool) -> Self {
        Self {
            wide,
            no_headers: global.no_headers,
            columns: global.columns.clone(),
            sort: global.sort.clone(),
            reverse: global.reverse,
        }
    }
}

impl Table {
    pub(crate) fn new(columns: impl IntoIterator<Item = Column>) -> Self {
        Self { columns: columns.into_iter().collect(), rows: Vec::new() }
    }
    /// Adds a row; as many fields as there are columns.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }
    /// As text, every line ended.
    pub(crate) fn render(mut self, shape: &Shape, style: &Style) -> Outcome<String> {
        if let Some(name) = &shape.sort {
            let index = self.position(name)?;
            self.rows.sort_by_cached_key(|row| sort_key(&row[index].text));
        }
        if shape.reverse {
            self.rows.reverse();
        }
        let chosen = self.chosen(shape)?;
        let widths = self.widths(&chosen, shape, style);
        let mut text = String::new();
        if !shape.no_headers {
            let head = |index: usize| Cell::of(Tone::Dim, self.columns[index].name);
            text += &self.line(&chosen, &widths, style, &head);
        }
        for row in &self.rows {
            text += &self.line(&chosen, &widths, style, &|index| row[index].clone());
        }
        Ok(text)
    }

    fn position(&self, name: &str) -> Outcome<usize> {
        let same =
            |column: &Column| column.name.replace(' ', "-").eq_ignore_ascii_case(&name.replace(' ', "-"));
        self.columns.iter().position(same).ok_or_else(|| {
            let known: Vec<String> =
                self.columns.iter().map(|it| it.name.to_ascii_lowercase().replace(' ', "-")).collect();
            Failure::usage(format!("there is no column `{name}`; there are {}", known.join(", ")))
                .maybe_hint(did_you_mean(name, known.iter().map(String::as_str)))
        })
    }

    fn chosen(&self, shape: &Shape) -> Outcome<Vec<usize>> {
        if shape.columns.is_empty() {
            return Ok((0..self.columns.len()).filter(|it| shape.wide || !self.columns[*it].wide).collect());
        }
        shape.columns.iter().map(|name| self.position(name)).collect()
    }

    fn widths(&self, chosen: &[usize], shape: &Shape, style: &Style) -> Vec<usize> {
        let width_of = |index: usize| {
            let head = if shape.no_headers { 0 } else { self.columns[index].name.width() };
            self.rows.iter().map(|row| row[index].text.width()).fold(head, usize::max)
        };
        let mut widths: Vec<usize> = chosen.iter().map(|index| width_of(*index)).collect();
        let Some(room) = style.width else { return widths };
        let free = |it: &usize| self.columns[chosen[*it]].free;
        let gaps = 2 * chosen.len().saturating_sub(1);
        loop {
            let needed = widths.iter().sum::<usize>() + gaps;
            let longest = (0..chosen.len()).filter(free).max_by_key(|it| widths[*it]);
            match longest {
                Some(it) if needed > room && widths[it] > SHRUNK_MIN => {
                    widths[it] = widths[it].saturating_sub(needed - room).max(SHRUNK_MIN);
                }
                _ => return widths,
            }
        }
    }

    fn line(
        &self,
        chosen: &[usize],
        widths: &[usize],
        style: &Style,
        cell: &dyn Fn(usize) -> Cell,
    ) -> String {
        let mut line = String::new();
        let mut owed = 0;
        for (index, width) in chosen.iter().zip(widths) {
            let Cell { text, tone } = cell(*index);
            let text = super::style::clip(&text, *width, style.either("…", "..."));
            let pad = width - text.width();
            let (before, after) = if self.columns[*index].right { (pad, 0) } else { (0, pad) };
            if text.is_empty() {
                owed += before;
            } else {
                line += &" ".repeat(owed + before);
                line += &style.paint(tone, &text);
                owed = 0;
            }
            owed += after + 2;
        }
        line + "\n"
    }
}

/// Numbers by value, the rest by letters.
fn sort_key(text: &str) -> (u64, String) {
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    let number = if digits.len() == text.len() { digits.parse().unwrap_or(u64::MAX) } else { u64::MAX };
    (number, text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Timestamp;

    fn table() -> Table {
        let mut table = Table::new([
            Column::new("ID"),
            Column::new("OK").right(),
            Column::new("WHAT").free(),
            Column::new("LAST APPLY").wide(),
        ]);
        table.row(["vm-1".into(), "9".into(), "apply web".into(), "-".into()]);
        table.row(["db".into(), "10".into(), "run a very long command line".into(), "ok".into()]);
        table
    }

    #[test]
    fn columns_are_aligned_by_two_spaces_without_trailing_ones() {
        let style = Style::plain(Timestamp(0));
        let text = table().render(&Shape::default(), &style).unwrap();
        assert_eq!(text, "ID    OK  WHAT\nvm-1   9  apply web\ndb    10  run a very long command line\n");
    }

    #[test]
    fn free_text_shrinks_on_a_narrow_terminal_only() {
        let style = Style { width: Some(24), ..Style::plain(Timestamp(0)) };
        let text = table().render(&Shape::default(), &style).unwrap();
        assert_eq!(text, "ID    OK  WHAT\nvm-1   9  apply web\ndb    10  run a very lo…\n");
    }

    #[test]
    fn columns_are_chosen_and_sorted_by_name() {
        let style = Style::plain(Timestamp(0));
        let shape = Shape {
            columns: vec!["last-apply".to_owned(), "id".to_owned()],
            sort: Some("ok".to_owned()),
            reverse: true,
            no_headers: true,
            ..Shape::default()
        };
        assert_eq!(table().render(&shape, &style).unwrap(), "ok  db\n-   vm-1\n");
        let wrong = Shape { sort: Some("whta".to_owned()), ..Shape::default() };
        let failure = table().render(&wrong, &style).unwrap_err();
        assert_eq!(failure.hint, Some("did you mean `what`?".to_owned()));
    }
}
