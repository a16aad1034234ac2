//! Waits until one of several descriptors can be read.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::{io, os::fd::BorrowedFd, time::Duration};

/// Longest wait in one go.
const WAIT_MAX: Duration = Duration::from_hours(1);

/// Which of them can be read, or have ended; those with `true` also when something urgent happened there. None when the
/// time is over, or when a signal came in between.
pub fn wait(descriptors: &[(BorrowedFd<'_>, bool)], limit: Duration) -> io::Result<Vec<usize>> {
    let mut polled: Vec<PollFd<'_>> = Vec::with_capacity(descriptors.len());
    for (fd, urgent) in descriptors {
        polled.push(PollFd::new(*fd, if *urgent { PollFlags::POLLPRI } else { PollFlags::POLLIN }));
    }
    // Rounded up: who is woken too early would look in vain, again and again.
    let limit = limit.min(WAIT_MAX) + Duration::from_micros(999);
    let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
    match poll(&mut polled, limit) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => {}
        Err(error) => return Err(error.into()),
    }
    Ok((0..).zip(polled).filter(|(_, it)| it.any() == Some(true)).map(|(index, _)| index).collect())
}
