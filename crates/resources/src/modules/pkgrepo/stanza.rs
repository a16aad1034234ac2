//! Stanzas of `.sources` files: what one stands for, and how it is altered without what others need of it.

use super::apt::Line;

/// The stanzas of a file, without the empty lines between them.
pub(super) fn all(text: &str) -> Vec<String> {
    let mut stanzas = vec![String::new()];
    for line in text.lines() {
        match stanzas.last_mut() {
            Some(last) if !line.trim().is_empty() => *last = format!("{last}{line}\n"),
            _ => stanzas.push(String::new()),
        }
    }
    stanzas.retain(|it| !it.is_empty());
    stanzas
}

/// Key and value of a line that begins a field.
fn begun(line: &str) -> Option<(&str, &str)> {
    line.split_once(':').filter(|it| !it.0.starts_with([' ', '\t', '#']))
}

/// The words of a field, also of the lines that go on with it.
fn words(stanza: &str, name: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut inside = false;
    for line in stanza.lines().filter(|it| !it.starts_with('#')) {
        let mut value = line;
        if !line.starts_with([' ', '\t']) {
            let field = begun(line).filter(|it| it.0.trim().eq_ignore_ascii_case(name));
            inside = field.is_some();
            value = field.map_or("", |it| it.1);
        }
        if inside {
            words.extend(value.split_whitespace().map(str::to_owned));
        }
    }
    words
}

/// With this value of a field, in its place or at the end.
fn set(stanza: &str, name: &str, value: &str) -> String {
    let mut text = String::new();
    let (mut inside, mut written) = (false, false);
    for line in stanza.lines() {
        if !line.starts_with([' ', '\t', '#']) {
            inside = begun(line).is_some_and(|it| it.0.trim().eq_ignore_ascii_case(name));
            if inside && !written {
                text = format!("{text}{name}: {value}\n");
                written = true;
            }
        }
        if !inside || line.starts_with('#') {
            text = format!("{text}{line}\n");
        }
    }
    if written { text } else { format!("{text}{name}: {value}\n") }
}

/// What a stanza stands for: a line for each kind, address and release.
pub(super) fn lines(stanza: &str) -> Vec<Line> {
    let off = words(stanza, "Enabled").first().is_some_and(|it| super::truth(it) == Some(false));
    let mut lines = Vec::new();
    for kind in words(stanza, "Types") {
        for address in words(stanza, "URIs") {
            for release in words(stanza, "Suites") {
                lines.push(Line {
                    disabled: off,
                    kind: kind.clone(),
                    address: address.clone(),
                    release,
                    components: words(stanza, "Components"),
                    ..Line::default()
                });
            }
        }
    }
    lines
}

/// The stanzas that stand for all that this one does but the line: itself, a smaller one, some if one cannot say it, or
/// none.
pub(super) fn without(stanza: &str, line: &Line) -> Vec<String> {
    let components = words(stanza, "Components");
    let names_none = line.components.is_empty() && !components.is_empty();
    if names_none || !lines(stanza).iter().any(|it| it.is(line)) {
        return vec![stanza.to_owned()];
    }
    let is_named = |key: &str, word: &String| match key {
        "Types" => *word == line.kind,
        "URIs" => word.trim_end_matches('/') == line.address.trim_end_matches('/'),
        "Suites" => *word == line.release,
        _ => line.components.contains(word),
    };
    let mut stanzas = Vec::new();
    let mut rest = stanza.to_owned();
    for key in ["Types", "URIs", "Suites", "Components"] {
        let (named, others): (Vec<_>, Vec<_>) =
            words(stanza, key).into_iter().partition(|it| is_named(key, it));
        if !others.is_empty() {
            stanzas.push(set(&rest, key, &others.join(" ")));
            rest = set(&rest, key, &named.join(" "));
        }
    }
    stanzas
}

/// One that stands for this line alone, with what the line says; what the line does not say stays.
fn amended(stanza: &str, line: &Line) -> String {
    let mut text = stanza.to_owned();
    if !line.disabled && lines(stanza).iter().any(|it| it.disabled) {
        text = set(&text, "Enabled", "yes");
    }
    for (key, value) in line.stanza().lines().filter_map(|it| it.split_once(": ")) {
        // An address may end with a slash or not.
        if key != "URIs" && words(&text, key) != value.split_whitespace().collect::<Vec<_>>() {
            text = set(&text, key, value);
        }
    }
    text
}

/// The file with the line in its place, or at the end.
pub(super) fn with(text: &str, line: &Line) -> String {
    let now = all(text);
    let mut stanzas: Vec<String> = Vec::new();
    let mut written = false;
    for stanza in &now {
        let has = |it: &Line| {
            let whole = line.components.iter().all(|component| it.components.contains(component));
            it.is(line) && it.disabled == line.disabled && whole
        };
        match &lines(stanza)[..] {
            [only] if only.is(line) && !written => {
                stanzas.push(amended(stanza, line));
                written = true;
            }
            [only] if only.is(line) => stanzas.extend(without(stanza, line)),
            // One that stands for several is what somebody wrote by hand.
            several => {
                written |= several.iter().any(has);
                stanzas.push(stanza.clone());
            }
        }
    }
    if !written {
        stanzas.push(line.stanza());
    }
    if stanzas == now { text.to_owned() } else { stanzas.join("\n") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIAN: &str = "# The archive.\nTypes: deb\nURIs: http://a/debian/\nSuites: trixie trixie-updates\nComponents: main\n contrib\n\
                          Signed-By: /x.gpg\n";

    fn line(text: &str) -> Line {
        Line::parse(text).unwrap()
    }

    #[test]
    fn a_stanza_stands_for_lines() {
        let text =
            "Types: deb deb-src\nURIs: http://a\nSuites: one two\nComponents: main\nSigned-By: /x.gpg\n";
        assert_eq!(lines(text).len(), 4);
        let line = line("deb [arch=amd64,i386 signed-by=/x.gpg] http://a one main");
        assert_eq!(
            line.stanza(),
            "Types: deb\nURIs: http://a\nSuites: one\nComponents: main\nArchitectures: amd64 i386\nSigned-By: /x.gpg\n"
        );
        assert!(lines(&line.stanza())[0].is(&line));
        assert_eq!(with(text, &line), text, "it is there already");
        assert_eq!(without(&line.stanza(), &line), [""; 0]);
    }

    #[test]
    fn only_the_line_is_taken_out() {
        let stays =
            |text: &str| {
                let stanzas = without(DEBIAN, &line(text));
                let of = |it: &String| {
                    format!("{} {}", words(it, "Suites").join(","), words(it, "Components").join(","))
                };
                assert!(stanzas.iter().all(|it| it.starts_with("# The archive.\nTypes: deb\n")
                    && it.contains("\nSigned-By: /x.gpg\n")));
                stanzas.iter().map(of).collect::<Vec<_>>()
            };
        assert_eq!(stays("deb http://a/debian trixie-updates main contrib"), ["trixie main,contrib"]);
        assert_eq!(
            stays("deb http://a/debian trixie-updates contrib"),
            ["trixie main,contrib", "trixie-updates main"]
        );
        assert_eq!(stays("deb http://a/debian trixie non-free"), ["trixie,trixie-updates main,contrib"]);
        assert_eq!(stays("deb http://a/debian trixie"), ["trixie,trixie-updates main,contrib"]);
        assert_eq!(stays("deb-src http://a/debian trixie main"), ["trixie,trixie-updates main,contrib"]);
    }

    #[test]
    fn what_a_line_does_not_say_stays() {
        let one = DEBIAN.replace(" trixie-updates", "");
        let wanted = one.replace("Components: main\n contrib\n", "Components: main non-free\n");
        assert_eq!(with(&one, &line("deb http://a/debian trixie main non-free")), wanted);
        assert_eq!(with(&one, &line("deb http://a/debian trixie main contrib")), one);
        let off = format!("Enabled: no\n{one}");
        let on = format!("Enabled: yes\n{one}");
        assert_eq!(with(&off, &line("deb http://a/debian trixie main contrib")), on);
        let added = line("deb http://a/debian trixie non-free");
        assert_eq!(with(DEBIAN, &added), format!("{DEBIAN}\n{}", added.stanza()));
    }
}
