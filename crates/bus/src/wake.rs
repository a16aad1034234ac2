//! Packets that wake machines: six bytes of ones and the address of a network card sixteen times, by UDP to everybody in
//! each network of this machine.

use std::{
    fs::File,
    io::{self, Read},
    net::{Ipv4Addr, SocketAddr, UdpSocket},
};

/// Where cards listen; the port does not matter to them.
const PORT: u16 = 9;
/// Bytes of a packet.
const PACKET_BYTES: usize = 102;
/// Where Linux says which networks a machine is in, how much of it is read, and how many of them count.
const ROUTES: &str = "/proc/self/net/route";
const ROUTES_BYTES_MAX: u64 = 256 << 10;
const NETWORKS_MAX: usize = 64;
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
    let mut routes = String::new();
    // Without them there is still the network of the default route.
    let _ = File::open(ROUTES).and_then(|it| it.take(ROUTES_BYTES_MAX).read_to_string(&mut routes));
    let mut to = broadcasts(&routes);
    to.push(Ipv4Addr::BROADCAST);
    let to: Vec<SocketAddr> = to.into_iter().map(|it| SocketAddr::from((it, PORT))).collect();
    send_to(macs, &to)
}

/// Where everybody in a network hears, for each network that this machine is in. What is sent to everybody at all leaves
/// by one card only.
fn broadcasts(routes: &str) -> Vec<Ipv4Addr> {
    let mut all = Vec::new();
    for line in routes.lines().skip(1) {
        // Name, destination, gateway, flags, three numbers, mask: in the byte order of the machine.
        let fields: Vec<u32> = line
            .split_ascii_whitespace()
            .skip(1)
            .map(|it| u32::from_str_radix(it, 16).unwrap_or_default())
            .collect();
        let [network, gateway, _, _, _, _, mask, ..] = fields[..] else { continue };
        let (network, mask) =
            (u32::from_be_bytes(network.to_ne_bytes()), u32::from_be_bytes(mask.to_ne_bytes()));
        let everybody = Ipv4Addr::from_bits(network | !mask);
        // One or two addresses, or all there are, are no network with neighbours.
        if gateway == 0
            && (1..31).contains(&mask.count_ones())
            && !all.contains(&everybody)
            && all.len() < NETWORKS_MAX
        {
            all.push(everybody);
        }
    }
    all
}

/// A network that cannot be reached keeps no other from being told.
fn send_to(macs: &[String], to: &[SocketAddr]) -> io::Result<usize> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_broadcast(true)?;
    let packets: Vec<_> = macs.iter().filter_map(|it| packet(it)).collect();
    let (mut sent, mut failure) = (false, None);
    for _ in 0..TIMES {
        for (packet, to) in packets.iter().flat_map(|packet| to.iter().map(move |to| (packet, to))) {
            match socket.send_to(packet, to) {
                Ok(_) => sent = true,
                Err(error) => failure = Some(error),
            }
        }
    }
    match failure {
        Some(error) if !sent => Err(error),
        _ => Ok(packets.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_has_the_address_sixteen_times_and_arrives() {
        let listener = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
        let macs = ["52:54:00:12:34:5f".to_owned(), "nonsense".to_owned()];
        // Nobody may send to port 0.
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        assert_eq!(send_to(&macs, &[nowhere, listener.local_addr().unwrap()]).unwrap(), 1);
        assert!(send_to(&macs, &[nowhere]).is_err());
        let mut heard = [0; 200];
        let bytes = listener.recv(&mut heard).unwrap();
        assert_eq!(bytes, PACKET_BYTES);
        assert_eq!(heard[..6], [0xff; 6]);
        assert!(heard[6..bytes].chunks(6).all(|it| it == [0x52, 0x54, 0, 0x12, 0x34, 0x5f]));
        for wrong in ["", "52:54:00:12:34", "52:54:00:12:34:56:78", "5:54:00:12:34:56", "zz:54:00:12:34:56"] {
            assert!(packet(wrong).is_none(), "{wrong}");
        }
    }

    /// From Linux 6.18 on x86-64: the default route, two networks, a host and a bridge without a link.
    #[test]
    #[cfg(target_endian = "little")]
    fn every_network_of_a_machine_has_an_address_for_everybody() {
        let routes = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t0000A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
lan1\t0010630A\t00000000\t0001\t0\t0\t0\t00F0FFFF\t0\t0\t0
wg0\t0200080A\t00000000\t0005\t0\t0\t0\tFFFFFFFF\t0\t0\t0
docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
wlan0\t0000A8C0\t00000000\t0001\t0\t0\t600\t00FFFFFF\t0\t0\t0
broken\tx
";
        let said: Vec<String> = broadcasts(routes).iter().map(ToString::to_string).collect();
        assert_eq!(said, ["192.168.0.255", "10.99.31.255", "172.17.255.255"]);
        assert!(broadcasts("").is_empty());
    }
}
