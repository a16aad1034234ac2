//! Packets that wake machines: six bytes of ones and the address of a network card sixteen times, by UDP to everybody in
//! the networks of this machine.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
};

/// Where cards listen; the port does not matter to them.
const PORT: u16 = 9;
/// Bytes of a packet.
const PACKET_BYTES: usize = 102;
/// Each packet goes out so often: nobody answers, and one may be lost.
const TIMES: usize = 3;

/// The packet for `52:54:00:12:34:56`.
pub fn packet(mac: &str) -> Option<[u8; PACKET_BYTES]> {
    let mut bytes = [0; 6];
    let mut parts = mac.split([':', '-']);
    for byte in &mut bytes {
        *byte = u8::from_str_radix(parts.next().filter(|it| it.len() == 2)?, 16).ok()?;
    }
    if parts.next().is_some() {
        return None;
    }
    let mut packet = [0xff; PACKET_BYTES];
    for chunk in packet[6..].chunks_exact_mut(6) {
        chunk.copy_from_slice(&bytes);
    }
    Some(packet)
}

/// Sends packets to everybody in reach. How many cards were meant.
pub fn send(macs: &[String]) -> io::Result<usize> {
    send_to(macs, SocketAddr::from((Ipv4Addr::BROADCAST, PORT)))
}

fn send_to(macs: &[String], to: SocketAddr) -> io::Result<usize> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_broadcast(true)?;
    let packets: Vec<_> = macs.iter().filter_map(|it| packet(it)).collect();
    for _ in 0..TIMES {
        for packet in &packets {
            socket.send_to(packet, to)?;
        }
    }
    Ok(packets.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_has_the_address_sixteen_times_and_arrives() {
        let listener = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
        let macs = ["52:54:00:12:34:5f".to_owned(), "nonsense".to_owned()];
        assert_eq!(send_to(&macs, listener.local_addr().unwrap()).unwrap(), 1);
        let mut heard = [0; 200];
        let bytes = listener.recv(&mut heard).unwrap();
        assert_eq!(bytes, PACKET_BYTES);
        assert_eq!(heard[..6], [0xff; 6]);
        assert!(heard[6..bytes].chunks(6).all(|it| it == [0x52, 0x54, 0, 0x12, 0x34, 0x5f]));
        for wrong in ["", "52:54:00:12:34", "52:54:00:12:34:56:78", "5:54:00:12:34:56", "zz:54:00:12:34:56"] {
            assert!(packet(wrong).is_none(), "{wrong}");
        }
    }
}
