//! YAML as nodes that know their place. One dialect for states, pillar and rules: duplicate keys are errors, scalars
//! keep their text, merge keys work, and aliases, depth and size are bounded.

use crate::{
    flow_lines::{self, Moved},
    limits,
    say::{At, Complaints, Rendered, Say, error, shortened, small},
};
use model::Diagnostic;
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span as Mark, StrInput};
use std::collections::HashMap;

/// A piece of YAML.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) at: At,
    /// `secret` for `!secret`.
    pub(crate) tag: Option<String>,
    pub(crate) value: Yaml,
}

/// What a node is.
#[derive(Clone, Debug)]
pub(crate) enum Yaml {
    /// Its text as written; plain if it stands without quotes.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A mapping's key.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) text: String,
    pub(crate) at: At,
    /// It stands without quotes.
    pub(crate) plain: bool,
}

impl Node {
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Yaml::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }
    /// Nothing at all, `~` or `null`.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, Yaml::Scalar { text, plain: true } if is_null(text))
    }
    /// For people.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.value {
            _ if self.is_null() => "nothing",
            Yaml::Scalar { .. } => "text",
            Yaml::List(_) => "a list",
            Yaml::Map(_) => "a mapping",
        }
    }
}

/// Whether a plain scalar is null.
pub(crate) fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

enum Open {
    List(Vec<Node>),
    Map(Box<OpenMap>),
}

#[derive(Default)]
struct OpenMap {
    pairs: Vec<(Key, Node)>,
    key: Option<Key>,
    merges: Vec<Node>,
    seen: HashMap<String, At>,
    /// The key stands here for the second time.
    twice: bool,
}

struct Frame {
    open: Open,
    at: At,
    anchor: usize,
    tag: Option<String>,
}

struct Builder<'a> {
    rendered: &'a Rendered,
    moved: Option<&'a Moved>,
    complaints: &'a mut Complaints,
    stack: Vec<Frame>,
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    aliases: usize,
    root: Option<Node>,
    /// The scanner found a line too far left.
    indentation: bool,
}

/// The document in a text; `None` with complaints if there is no sense to be made of it. An empty text is null.
pub(crate) fn parse(rendered: &Rendered, complaints: &mut Complaints) -> Option<Node> {
    if rendered.text.len() > limits::RENDERED_BYTES {
        complaints.push(too_much(rendered, At::default(), "bytes", limits::RENDERED_BYTES));
        return None;
    }
    let mut told = Complaints::default();
    let mut read = read(rendered, None, &mut told);
    if let Err(Refused { indentation: true, .. }) = read
        && let Some(moved) = flow_lines::moved(&rendered.text)
    {
        let mut again = Complaints::default();
        if let Ok(root) = self::read(rendered, Some(&moved), &mut again) {
            (read, told) = (Ok(root), again);
        }
    }
    complaints.extend(told.finish());
    let root = match read {
        Ok(root) => root,
        Err(refused) => {
            complaints.push(*refused.diagnostic);
            return None;
        }
    };
    Some(root.unwrap_or(Node {
        at: At { line: 1, column: 1, length: 1 },
        tag: None,
        value: Yaml::Scalar { text: String::new(), plain: true },
    }))
}

/// Why there is no sense in a text.
struct Refused {
    diagnostic: Box<Diagnostic>,
    /// A line stands too far left.
    indentation: bool,
}

/// Reads a text, or the same with some of its lines moved.
fn read(
    rendered: &Rendered,
    moved: Option<&Moved>,
    complaints: &mut Complaints,
) -> Result<Option<Node>, Refused> {
    let mut builder = Builder {
        rendered,
        moved,
        complaints,
        stack: Vec::new(),
        anchors: HashMap::new(),
        nodes: 0,
        aliases: 0,
        root: None,
        indentation: false,
    };
    let mut parser = Parser::new_from_str(moved.map_or(&rendered.text, |it| &it.text));
    match builder.run(&mut parser) {
        Ok(()) => Ok(builder.root),
        Err(diagnostic) => Err(Refused { diagnostic, indentation: builder.indentation }),
    }
}

fn too_much(rendered: &Rendered, at: At, what: &str, most: usize) -> Diagnostic {
    error("E0104", format!("more than {most} {what} in one file"))
        .at(rendered.span(at, ""))
        .help("split the file")
}

impl Builder<'_> {
    fn run(&mut self, parser: &mut Parser<'_, StrInput<'_>>) -> Result<(), Box<Diagnostic>> {
        let mut documents = 0;
        while let Some(event) = parser.next_event() {
            let (event, mark) = event.map_err(|cause| {
                let at = At {
                    line: small(cause.marker().line()),
                    column: small(self.column(cause.marker()) + 1),
                    length: 1,
                };
                self.indentation = cause.info().contains("indentation");
                // The scanner has a bound of its own on brackets, which it meets first.
                if cause.info().contains("recursion limit") {
                    return Box::new(self.too_deep(at));
                }
                Box::new(self.say("E0101", format!("this is not YAML: {}", cause.info()), at, ""))
            })?;
            match event {
                Event::DocumentStart(_) => {
                    documents += 1;
                    if documents > 1 {
                        let message = "a second YAML document in one file";
                        return Err(Box::new(
                            self.say("E0101", message, self.at_of(&mark), "").help("remove `---`"),
                        ));
                    }
                }
                Event::StreamEnd => return Ok(()),
                other => self.event(other, &mark)?,
            }
        }
        Ok(())
    }

    /// From 0, as it is written.
    fn column(&self, marker: &Marker) -> usize {
        self.moved.map_or(marker.col(), |it| it.written(marker.line(), marker.col()))
    }

    fn at_of(&self, mark: &Mark) -> At {
        let start = self.column(&mark.start);
        let same_line = mark.start.line() == mark.end.line();
        let length = if same_line { self.column(&mark.end).saturating_sub(start) } else { 1 };
        At { line: small(mark.start.line()), column: small(start + 1), length: small(length.max(1)) }
    }

    fn say(&self, code: &str, message: impl Into<String>, at: At, label: &str) -> Diagnostic {
        let mut diagnostic = error(code, message).at(self.rendered.span(at, label));
        diagnostic.notes.extend(self.rendered.note(at));
        diagnostic
    }

    fn event(&mut self, event: Event<'_>, mark: &Mark) -> Result<(), Box<Diagnostic>> {
        let at = self.at_of(mark);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && tag.as_ref().is_none_or(|it| it.suffix != "str");
                let value = Yaml::Scalar { text: text.into_owned(), plain };
                let tag = self.tag(tag.map(|it| it.suffix.clone()), at)?;
                self.add(Node { at, tag, value }, anchor, 1)
            }
            Event::SequenceStart(anchor, tag) => {
                let tag = self.tag(tag.map(|it| it.suffix.clone()), at)?;
                self.open(Frame { open: Open::List(Vec::new()), at, anchor, tag })
            }
            Event::MappingStart(anchor, tag) => {
                let tag = self.tag(tag.map(|it| it.suffix.clone()), at)?;
                let open = Open::Map(Box::default());
                self.open(Frame { open, at, anchor, tag })
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => self.alias(anchor, at),
            _ => Ok(()),
        }
    }

    fn tag(&self, tag: Option<String>, at: At) -> Result<Option<String>, Box<Diagnostic>> {
        match tag.as_deref() {
            None | Some("" | "str" | "int" | "bool" | "float" | "null" | "seq" | "map") => Ok(None),
            Some("secret") => Ok(tag),
            Some(other) => Err(Box::new(
                self.say("E0101", format!("unknown YAML tag `!{other}`"), at, "")
                    .help("the only tag is `!secret`, for values that must never be shown"),
            )),
        }
    }

    fn alias(&mut self, anchor: usize, at: At) -> Result<(), Box<Diagnostic>> {
        self.aliases += 1;
        if self.aliases > limits::YAML_ALIASES {
            return Err(Box::new(too_much(self.rendered, at, "aliases", limits::YAML_ALIASES)));
        }
        let Some((node, size)) = self.anchors.get(&anchor) else {
            return Err(Box::new(self.say("E0101", "this alias is used inside its own anchor", at, "")));
        };
        if self.nodes + size > limits::YAML_NODES {
            return Err(Box::new(too_much(self.rendered, at, "values through aliases", limits::YAML_NODES)));
        }
        let (node, size) = (Node { at, ..node.clone() }, *size);
        if self.stack.len() + depth(&node) > limits::YAML_DEPTH {
            return Err(Box::new(self.too_deep(at)));
        }
        self.add(node, 0, size)
    }

    fn too_deep(&self, at: At) -> Diagnostic {
        let message = format!("more than {} lists and mappings inside one another", limits::YAML_DEPTH);
        self.say("E0104", message, at, "")
    }

    fn open(&mut self, frame: Frame) -> Result<(), Box<Diagnostic>> {
        if self.stack.len() >= limits::YAML_DEPTH {
            return Err(Box::new(self.too_deep(frame.at)));
        }
        if let Some(Frame { open: Open::Map(map), .. }) = self.stack.last()
            && map.key.is_none()
        {
            return Err(Box::new(self.not_a_key(frame.at)));
        }
        self.stack.push(frame);
        Ok(())
    }

    fn not_a_key(&self, at: At) -> Diagnostic {
        self.say("E0101", "a key must be text", at, "").help("a value that starts with `{` needs quotes")
    }

    fn close(&mut self) -> Result<(), Box<Diagnostic>> {
        let Some(frame) = self.stack.pop() else { return Ok(()) };
        let value = match frame.open {
            Open::List(nodes) => Yaml::List(nodes),
            Open::Map(map) => Yaml::Map(self.merged(map.pairs, map.merges)),
        };
        let node = Node { at: frame.at, tag: frame.tag, value };
        let size = if frame.anchor > 0 { count(&node) } else { 0 };
        if frame.anchor > 0 {
            self.anchors.insert(frame.anchor, (node.clone(), size));
        }
        self.add(node, 0, 1)
    }

    /// `<<`: what is written here wins; of several, the first.
    fn merged(&mut self, mut pairs: Vec<(Key, Node)>, merges: Vec<Node>) -> Vec<(Key, Node)> {
        let mut queue: Vec<Node> = merges;
        queue.reverse();
        while let Some(node) = queue.pop() {
            match node.value {
                Yaml::Map(more) => {
                    let known: std::collections::HashSet<String> =
                        pairs.iter().map(|(key, _)| key.text.clone()).collect();
                    pairs.extend(more.into_iter().filter(|(key, _)| !known.contains(&key.text)));
                }
                Yaml::List(nodes) if nodes.iter().all(|it| matches!(it.value, Yaml::Map(_))) => {
                    queue.extend(nodes.into_iter().rev());
                }
                _ => {
                    let diagnostic =
                        self.say("E0101", "`<<` takes a mapping or a list of mappings", node.at, "");
                    self.complaints.push(diagnostic);
                }
            }
        }
        pairs
    }

    fn add(&mut self, node: Node, anchor: usize, size: usize) -> Result<(), Box<Diagnostic>> {
        self.nodes += size;
        if self.nodes > limits::YAML_NODES {
            return Err(Box::new(too_much(self.rendered, node.at, "values", limits::YAML_NODES)));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, (node.clone(), 1));
        }
        let mut duplicate = None;
        let Some(frame) = self.stack.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut frame.open {
            Open::List(nodes) => nodes.push(node),
            Open::Map(map) => match map.key.take() {
                Some(key) if key.text == "<<" => map.merges.push(node),
                // What stands twice is complained about, and the first counts from there on.
                Some(key) if !map.twice => map.pairs.push((key, node)),
                Some(_) => {}
                None => {
                    let Yaml::Scalar { text, plain } = node.value else {
                        return Err(Box::new(self.not_a_key(node.at)));
                    };
                    duplicate =
                        map.seen.insert(text.clone(), node.at).map(|first| (text.clone(), first, node.at));
                    map.twice = duplicate.is_some();
                    map.key = Some(Key { text, at: node.at, plain });
                }
            },
        }
        if let Some((text, first, again)) = duplicate {
            let diagnostic = error("E0103", format!("`{}` stands here twice", shortened(&text)))
                .at(self.rendered.span(again, "again"))
                .at(self.rendered.span(first, "first"))
                .help("merge the two, or rename one of them");
            self.complaints.push(diagnostic);
        }
        Ok(())
    }
}

fn depth(node: &Node) -> usize {
    match &node.value {
        Yaml::Scalar { .. } => 0,
        Yaml::List(nodes) => 1 + nodes.iter().map(depth).max().unwrap_or(0),
        Yaml::Map(pairs) => 1 + pairs.iter().map(|(_, node)| depth(node)).max().unwrap_or(0),
    }
}

fn count(node: &Node) -> usize {
    match &node.value {
        Yaml::Scalar { .. } => 1,
        Yaml::List(nodes) => 1 + nodes.iter().map(count).sum::<usize>(),
        Yaml::Map(pairs) => 1 + pairs.iter().map(|(_, node)| 1 + count(node)).sum::<usize>(),
    }
}
