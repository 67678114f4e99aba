//! Which addresses belong to the user's own network. Pure.
//!
//! The ranges are those of IANA's special-purpose registries (RFC 6890): what no other network can be reached by is the
//! user's own. Cloud machines keep secrets at some of these addresses, for whoever asks; those are never asked.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where an address leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// To this machine or its own network.
    Own,
    /// To everybody's network: only where the settings name the host.
    World,
    /// Nowhere that a model could be: it is refused even where the settings name the host.
    Never(&'static str),
}

/// Addresses at which clouds keep the credentials of their machines: AWS, Azure and Google; AWS's containers; Alibaba.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(169, 254, 169, 254), Ipv4Addr::new(169, 254, 170, 2), Ipv4Addr::new(100, 100, 100, 200)];
/// The same, of AWS.
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254);

impl Reach {
    /// Where this address leads.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => of_v4(address),
            IpAddr::V6(address) => of_v6(address),
        }
    }

    /// Whether it is the address of one machine in everybody's network and of nothing else; otherwise, what it is. Stricter than
    /// [`Reach::World`]: for those who go where a stranger's text leads.
    pub fn is_public(address: IpAddr) -> Result<(), &'static str> {
        match address {
            IpAddr::V6(address) if address.to_ipv4_mapped().is_some() => {
                return Err("it hides an address of version 4");
            }
            _ => {}
        }
        match Self::of(address) {
            Self::Own => Err("it belongs to a private network"),
            Self::Never(reason) => Err(reason),
            Self::World => match address {
                IpAddr::V4(address) => special_v4(address),
                IpAddr::V6(address) => special_v6(address),
            },
        }
    }
}

fn special_v4(address: Ipv4Addr) -> Result<(), &'static str> {
    match address.octets() {
        [192, 0, 0, _] => Err("it is kept for protocols"),
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Err("it is kept for examples"),
        [192, 88, 99, _] => Err("it leads through a translator (6to4)"),
        [198, 18 | 19, ..] => Err("it is kept for measurements"),
        _ => Ok(()),
    }
}

fn special_v6(address: Ipv6Addr) -> Result<(), &'static str> {
    let segments = address.segments();
    match (segments[0], segments[1]) {
        // All that was ever given to networks begins so.
        (first, _) if first & 0xe000 != 0x2000 => Err("it is no address of everybody's network"),
        (0x2001, 0) => Err("it hides an address of version 4 (Teredo)"),
        (0x2001, second) if second < 0x0200 => Err("it is kept for protocols"),
        (0x2001, 0x0db8) => Err("it is kept for examples"),
        (0x3fff, second) if second < 0x1000 => Err("it is kept for examples"),
        _ if segments[4] & 0xfdff == 0 && segments[5] == 0x5efe => {
            Err("it hides an address of version 4 (ISATAP)")
        }
        _ => Ok(()),
    }
}

fn of_v4(address: Ipv4Addr) -> Reach {
    let [first, second, ..] = address.octets();
    match first {
        _ if METADATA_V4.contains(&address) => {
            Reach::Never("it is where clouds keep a machine's credentials")
        }
        0 => Reach::Never("it is no address of a machine"),
        224..=255 => Reach::Never("it is no address of one machine"),
        // Shared between a provider and its customers (RFC 6598); home networks across machines use it too.
        100 if second & 0xc0 == 64 => Reach::Own,
        _ if address.is_loopback() || address.is_private() || address.is_link_local() => Reach::Own,
        _ => Reach::World,
    }
}

fn of_v6(address: Ipv6Addr) -> Reach {
    // The system itself treats it as the address of version 4.
    if let Some(address) = address.to_ipv4_mapped() {
        return of_v4(address);
    }
    let segments = address.segments();
    match segments[0] {
        _ if address == METADATA_V6 => Reach::Never("it is where clouds keep a machine's credentials"),
        _ if address.is_loopback() => Reach::Own,
        _ if address.is_unspecified() || address.is_multicast() => {
            Reach::Never("it is no address of one machine")
        }
        // These lead through a translator to an address of version 4: who means that one can name it.
        0x2002 => Reach::Never("it hides an address of version 4 (6to4)"),
        0x0064 if segments[1] == 0xff9b => Reach::Never("it hides an address of version 4 (NAT64)"),
        0 if segments[..6] == [0; 6] => Reach::Never("it hides an address of version 4"),
        _ if address.is_unique_local() || address.is_unicast_link_local() => Reach::Own,
        _ => Reach::World,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(addresses: &[&str], expected: impl Fn(Reach) -> bool) {
        for address in addresses {
            let reach = Reach::of(address.parse().unwrap());
            assert!(expected(reach), "{address}: {reach:?}");
        }
    }

    #[test]
    fn each_range_to_its_first_and_last_address() {
        let own = [
            "127.0.0.1",
            "127.255.255.255",
            "::1",
            "10.0.0.0",
            "10.255.255.255",
            "172.16.0.0",
            "172.31.255.255",
            "192.168.0.0",
            "192.168.255.255",
            "169.254.0.1",
            "169.254.255.255",
            "100.64.0.0",
            "100.127.255.255",
            "fc00::",
            "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "fe80::",
            "febf::1",
            "::ffff:192.168.1.1",
        ];
        check(&own, |reach| reach == Reach::Own);
        let world = [
            "9.255.255.255",
            "11.0.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "192.169.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "8.8.8.8",
            "fe00::1",
            "fec0::1",
            "2001:4860:4860::8888",
            "::ffff:8.8.8.8",
        ];
        check(&world, |reach| reach == Reach::World);
        let never = [
            "0.0.0.0",
            "0.255.255.255",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "169.254.169.254",
            "169.254.170.2",
            "100.100.100.200",
            "fd00:ec2::254",
            "::",
            "ff02::1",
            "::ffff:169.254.169.254",
            "::ffff:0.0.0.0",
            "64:ff9b::a00:1",
            "64:ff9b:1::a00:1",
            "2002:a00:1::",
            "::10.0.0.1",
        ];
        check(&never, |reach| matches!(reach, Reach::Never(_)));
    }

    #[test]
    fn public_is_what_has_no_other_meaning() {
        let public = ["8.8.8.8", "1.1.1.1", "223.255.255.255", "2606:4700::1111", "2001:200::1", "2a00::1"];
        for address in public {
            assert_eq!(Reach::is_public(address.parse().unwrap()), Ok(()), "{address}");
        }
        let special = [
            "192.0.0.0",
            "192.0.0.255",
            "192.0.2.1",
            "198.51.100.1",
            "203.0.113.1",
            "192.88.99.1",
            "198.18.0.0",
            "198.19.255.255",
            "::ffff:8.8.8.8",
            "::8.8.8.8",
            "64:ff9b::808:808",
            "64:ff9b:1::808:808",
            "100::1",
            "2001::1",
            "2001:0:808:808::1",
            "2001:2::1",
            "2001:10::1",
            "2001:1ff::1",
            "2001:db8::1",
            "2002:808:808::1",
            "3fff::1",
            "5f00::1",
            "2a00::5efe:808:808",
            "2a00::200:5efe:808:808",
            "fec0::1",
            "fe80::5efe:808:808",
            "fd00::1",
            "ff0e::1",
            "127.0.0.1",
            "10.0.0.1",
            "100.64.0.1",
            "169.254.169.254",
            "0.0.0.0",
            "255.255.255.255",
        ];
        for address in special {
            assert!(Reach::is_public(address.parse().unwrap()).is_err(), "{address}");
        }
    }

    proptest! {
        #[test]
        fn what_is_public_is_the_worlds(high: u128, low: u32) {
            for address in [IpAddr::V6(Ipv6Addr::from_bits(high)), IpAddr::V4(Ipv4Addr::from_bits(low))] {
                if Reach::is_public(address).is_ok() {
                    prop_assert_eq!(Reach::of(address), Reach::World);
                }
            }
        }

        #[test]
        fn an_address_of_version_4_is_the_same_in_either_form(address: u32) {
            let address = Ipv4Addr::from_bits(address);
            let mapped = Reach::of(address.to_ipv6_mapped().into());
            prop_assert_eq!(mapped, Reach::of(address.into()));
        }
    }
}
