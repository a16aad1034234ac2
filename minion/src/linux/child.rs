//! What only the kernel can do for programs that end with their parent.

use super::system::kill_group;
use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    sys::{prctl::set_pdeathsig, signal::Signal},
    unistd::getppid,
};
use std::{
    ffi::OsString,
    io,
    os::{fd::AsFd, unix::process::CommandExt},
    process::Command,
};

/// Makes reads give up where there is nothing yet.
pub fn never_wait(fd: impl AsFd) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GETFL)?);
    fcntl(&fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

/// Becomes a program that is killed when the thread that started this one ends. Says why it could not.
pub fn hold(parent: i32, argv: &[OsString]) -> io::Error {
    if let Err(error) = set_pdeathsig(Signal::SIGKILL) {
        return error.into();
    }
    // It may have ended before it was watched.
    if getppid().as_raw() != parent {
        return io::Error::other("the agent has ended already");
    }
    match argv {
        [program, arguments @ ..] => Command::new(program).args(arguments).exec(),
        [] => io::Error::other("there is no program to run"),
    }
}

/// Kills a child and all that it started; it may have ended in this moment.
pub fn kill(id: u32) {
    let _ = kill_group(id.cast_signed());
}
