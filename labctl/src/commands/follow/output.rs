//! What commands said: straight through for one host, folded for several.

use super::{Following, said};
use crate::{
    Outcome,
    commands::Desk,
    show::{
        fold::{self, Said},
        job,
        style::prefixed,
    },
};
use model::{JobTarget, api::JobView};

impl Following<'_> {
    /// A word on a new wave, where no live lines say it.
    pub(super) fn rolled(desk: &mut Desk<'_>, mark: &str) -> Outcome<()> {
        if desk.screen.progress && !desk.screen.live { desk.screen.note(mark) } else { Ok(()) }
    }

    pub(super) fn show_run(&mut self, desk: &mut Desk<'_>, view: &JobView, took: u64) -> Outcome<()> {
        let hosts = view.targets.len();
        if self.is_streaming() {
            for target in &view.targets {
                self.rest_of_output(desk, target, hosts)?;
            }
        }
        let quiet_success = |it: &&(String, Said)| it.1.word == "ok" || it.1.word == "changed";
        let said: Vec<(String, Said)> = view
            .targets
            .iter()
            .map(|it| (it.minion.to_string(), said(&view.job.kind, it, self.watched.reports.get(&it.minion))))
            .collect();
        if self.is_streaming() {
            for (host, said) in said.iter().filter(|it| !quiet_success(it)) {
                let bare = Said { stdout: String::new(), stderr: String::new(), ..said.clone() };
                let block = fold::block(std::slice::from_ref(host), &bare, 0, &desk.screen.err_style);
                desk.screen.note(block.trim_end())?;
            }
        } else {
            let verbosity = desk.screen.style.verbosity;
            let groups = fold::fold(&said, self.follow.folding);
            let width = groups.iter().map(|(hosts, _)| fold::fold_names(hosts).len()).max().unwrap_or(0);
            for (hosts, said) in groups.iter().filter(|it| verbosity >= 0 || it.1.word == "failed") {
                let block = fold::block(hosts, said, width, &desk.screen.style);
                desk.screen.raw(&block)?;
            }
        }
        if hosts > 1 {
            desk.screen.flush()?;
            let counts = job::count_text(view, &desk.screen.err_style);
            desk.screen.note(&format!(
                "{counts}      job {} {}",
                view.job.id.short(),
                crate::show::time::took(took)
            ))?;
        }
        Ok(())
    }

    /// What the live lines did not bring.
    fn rest_of_output(&mut self, desk: &mut Desk<'_>, target: &JobTarget, hosts: usize) -> Outcome<()> {
        let output =
            self.watched.reports.get(&target.minion).and_then(|it| it.steps.first()?.output.as_ref());
        let Some(output) = output.cloned() else { return Ok(()) };
        let streamed = self.streamed.get(&target.minion).cloned().unwrap_or_default();
        for (stderr, whole, so_far) in [(false, output.stdout, streamed.0), (true, output.stderr, streamed.1)]
        {
            let rest = if let Some(rest) = whole.strip_prefix(so_far.as_str()) {
                rest.to_owned()
            } else {
                desk.screen.note("the live output had a gap; here is the whole:")?;
                whole
            };
            if rest.is_empty() {
                continue;
            }
            let text = match hosts {
                1 => rest,
                _ => prefixed(&rest, &format!("{}: ", target.minion)),
            };
            if stderr { desk.screen.raw_err(&text)? } else { desk.screen.raw(&text)? }
        }
        if output.dropped > 0 {
            desk.screen.note(&format!("{} bytes of output were cut at the limit", output.dropped))?;
        }
        Ok(())
    }
}
