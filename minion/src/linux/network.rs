//! Network interfaces as the kernel knows them, and a socket on which it says that something about them changed.

use crate::senses::Interface;
use nix::{
    errno::Errno,
    ifaddrs::getifaddrs,
    net::if_::InterfaceFlags,
    sys::socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, recv,
        socket,
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::IpAddr,
    os::fd::{AsRawFd, OwnedFd},
};

/// Groups of messages: links, addresses of version 4 and of version 6.
const GROUPS: u32 = 0x1 | 0x10 | 0x100;
/// Bytes of one message, and how many are taken in one go.
const MESSAGE_MAX: usize = 16 << 10;
const MESSAGES_MAX: u64 = 4096;

/// A socket that can be read when something about links or addresses changed.
pub fn listen() -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUPS))?;
    Ok(socket)
}

/// How many messages there were; what they say is looked up, so that a lost one does no harm.
pub fn drain(socket: &OwnedFd) -> io::Result<u64> {
    let mut buffer = [0; MESSAGE_MAX];
    let mut messages = 0;
    while messages < MESSAGES_MAX {
        match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            // More than it keeps: that counts as one.
            Ok(_) | Err(Errno::ENOBUFS) => messages += 1,
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(messages)
}

/// All interfaces, in order of name.
pub fn interfaces() -> io::Result<Vec<Interface>> {
    let mut all: BTreeMap<String, (bool, BTreeSet<String>)> = BTreeMap::new();
    for entry in getifaddrs()? {
        let up = entry.flags.contains(InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING);
        // `eth0:1` is a name of an address.
        let name = entry.interface_name.split(':').next().unwrap_or_default().to_owned();
        let (is_up, addresses) = all.entry(name).or_default();
        *is_up |= up;
        let ip = entry.address.as_ref().and_then(ip_of).filter(|it| !is_local(it));
        if let Some(ip) = ip {
            let prefix = entry.netmask.as_ref().and_then(ip_of).map_or(0, ones);
            addresses.insert(format!("{ip}/{prefix}"));
        }
    }
    let interface = |(name, (up, addresses)): (String, (bool, BTreeSet<String>))| Interface {
        name,
        up,
        addresses: addresses.into_iter().collect(),
    };
    Ok(all.into_iter().map(interface).collect())
}

fn ip_of(address: &SockaddrStorage) -> Option<IpAddr> {
    let four = address.as_sockaddr_in().map(|it| IpAddr::V4(it.ip()));
    four.or_else(|| address.as_sockaddr_in6().map(|it| IpAddr::V6(it.ip())))
}

/// Whether an address counts on its link only: every interface has one.
fn is_local(ip: &IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.segments()[0] & 0xffc0 == 0xfe80)
}

fn ones(mask: IpAddr) -> u32 {
    match mask {
        IpAddr::V4(mask) => mask.to_bits().count_ones(),
        IpAddr::V6(mask) => mask.to_bits().count_ones(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_interfaces_and_the_kernel_would_tell_of_them() {
        let all = interfaces().unwrap();
        assert!(all.iter().any(|it| it.name == "lo"), "{all:?}");
        let socket = listen().unwrap();
        assert!(drain(&socket).unwrap() <= MESSAGES_MAX);
    }

    #[test]
    fn addresses_of_the_link_do_not_count() {
        for (text, local) in [("fe80::1", true), ("febf::1", true), ("fec0::1", false), ("10.0.0.1", false)] {
            assert_eq!(is_local(&text.parse().unwrap()), local, "{text}");
        }
        assert_eq!(ones("255.255.240.0".parse().unwrap()), 20);
    }
}
