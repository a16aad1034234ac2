//! What a function's parameters are: for checking at compile time with good messages, and for `labctl state doc`.

/// Text for people about what there is. A program that is built without the feature `docs`, such as a minion, which nobody
/// asks, has none of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doc {
    #[cfg(feature = "docs")]
    text: &'static str,
}

impl Doc {
    pub(crate) const fn new(text: &'static str) -> Self {
        #[cfg(not(feature = "docs"))]
        let _ = text;
        Self {
            #[cfg(feature = "docs")]
            text,
        }
    }
    /// The text.
    #[must_use]
    pub const fn text(self) -> &'static str {
        #[cfg(feature = "docs")]
        return self.text;
        #[cfg(not(feature = "docs"))]
        ""
    }
}

/// YAML that compiles; none without the feature `docs`.
#[derive(Clone, Copy, Debug)]
pub struct Examples {
    #[cfg(feature = "docs")]
    texts: &'static [&'static str],
}

impl Examples {
    pub(crate) const fn new(texts: &'static [&'static str]) -> Self {
        #[cfg(not(feature = "docs"))]
        let _ = texts;
        Self {
            #[cfg(feature = "docs")]
            texts,
        }
    }
    /// The examples.
    #[must_use]
    pub const fn texts(self) -> &'static [&'static str] {
        #[cfg(feature = "docs")]
        return self.texts;
        #[cfg(not(feature = "docs"))]
        &[]
    }
}

/// One parameter.
#[derive(Clone, Copy, Debug)]
pub struct Param {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: ParamType,
    /// Whether it must be given. `name` never must: it defaults to the block's id.
    pub required: bool,
    /// Its default for people, such as `0644` or `none`.
    pub default: Doc,
    /// One sentence.
    pub doc: Doc,
}

impl Param {
    /// The first of every function: what it acts on.
    pub(crate) const fn name(doc: &'static str) -> Self {
        Self::of("name", ParamType::Text, "", doc)
    }
    /// One that may be left out; `default` is what people read.
    pub(crate) const fn of(
        name: &'static str,
        kind: ParamType,
        default: &'static str,
        doc: &'static str,
    ) -> Self {
        Self { name, kind, required: false, default: Doc::new(default), doc: Doc::new(doc) }
    }
    /// The same, but it must be given.
    pub(crate) const fn required(self) -> Self {
        Self { required: true, ..self }
    }
}

/// Types of parameters. YAML scalars arrive as written: `0644` is the string `0644`, and `yes` is the string `yes`
/// which is a boolean where one is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamType {
    /// Text; numbers are taken as their text.
    Text,
    /// `true false yes no on off`, and the strings of these.
    Bool,
    /// A whole number, or its text.
    Integer,
    /// Octal file mode: `0644`, `'644'`, `644`.
    Mode,
    /// A list of text, or one text.
    TextList,
    /// A mapping of text to scalars, or a list of one-key mappings.
    TextMap,
    /// A path on the minion, absolute.
    Path,
    /// `salt://x` or `lab://x`: a file in the tree, or a list of alternatives. The compiler replaces it with content.
    Source,
    /// Seconds, or `5m`.
    Duration,
    /// Text, or a list of text or of mappings of names to text. Where it is `salt://x` or `lab://x` the compiler replaces
    /// it with `content:HASH`.
    Places,
    /// Anything.
    Any,
}

impl Param {
    pub(crate) const fn text(name: &'static str, default: &'static str, doc: &'static str) -> Self {
        Self::of(name, ParamType::Text, default, doc)
    }
    pub(crate) const fn flag(name: &'static str, default: &'static str, doc: &'static str) -> Self {
        Self::of(name, ParamType::Bool, default, doc)
    }
    pub(crate) const fn number(name: &'static str, default: &'static str, doc: &'static str) -> Self {
        Self::of(name, ParamType::Integer, default, doc)
    }
    pub(crate) const fn list(name: &'static str, default: &'static str, doc: &'static str) -> Self {
        Self::of(name, ParamType::TextList, default, doc)
    }
    pub(crate) const fn map(name: &'static str, default: &'static str, doc: &'static str) -> Self {
        Self::of(name, ParamType::TextMap, default, doc)
    }
    pub(crate) const fn path(name: &'static str, default: &'static str, doc: &'static str) -> Self {
        Self::of(name, ParamType::Path, default, doc)
    }
    pub(crate) const fn any(name: &'static str, default: &'static str, doc: &'static str) -> Self {
        Self::of(name, ParamType::Any, default, doc)
    }
}
