//! How somebody says who they are to the API, and why they are not let in.

use model::Secret;

/// How an operator proves who they are.
#[derive(Clone, Debug)]
pub enum Credential {
    /// `name:secret` of an API token.
    Token(Secret),
    /// A client certificate's key.
    Key(bus::PublicKey),
    /// A user of the master's own machine, by the socket.
    Local(Local),
}

/// A user of the master's own machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// User name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// By what they may use the socket.
    pub by: LocalRight,
}

/// By what a local user may use the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalRight {
    /// Root, or the user that the master runs as.
    Root,
    /// A member of the group `lab`.
    Lab,
}

/// Why somebody is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginFault {
    /// No such name, or not its secret.
    Unknown,
    /// It was good, and its end has come.
    Ended(String),
}
