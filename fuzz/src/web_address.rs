//! Addresses in the web: what is let through can be read in one way only, and leads to everybody's network.
use std::net::IpAddr;

use archond_models::remote::Reach;

use crate::web::{Ground, Place, WebRules};

/// The input is an address, or two in lines: where a page is, and where it says that it has moved to.
pub fn web_address(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let (first, moved) = text.split_once('\n').unwrap_or((text, ""));
    let Ok(place) = Place::parse(first) else { return };
    check(&place);
    if let Ok(next) = place.follow(moved) {
        check(&next);
        assert!(next.is_tls() || !place.is_tls(), "{place} led into the open: {next}");
    }
}

fn check(place: &Place) {
    let shown = place.to_string();
    assert!(shown.starts_with("http://") || shown.starts_with("https://"), "{shown}");
    assert!(shown.bytes().all(|byte| byte.is_ascii_graphic()), "{shown}");
    assert!(!place.authority().contains('@'), "{shown}");
    // Escapes make an address longer; a longer one may be refused, but never read as another.
    if let Ok(again) = Place::parse(&shown) {
        assert_eq!(
            (again.host(), again.port(), again.target()),
            (place.host(), place.port(), place.target())
        );
    }
    let Ok(ground) = WebRules::default().ground(place.host(), place.port()) else { return };
    assert_eq!(ground, Ground::Outside, "nothing was named");
    assert!([80, 443].contains(&place.port()), "{shown}");
    match place.host().parse::<IpAddr>() {
        Ok(address) => assert_eq!(Reach::is_public(address), Ok(()), "{shown}"),
        Err(_) => {
            let end = place.host().rsplit('.').next().unwrap_or_default();
            assert!(
                place.host().contains('.') && !["local", "internal", "localhost", ""].contains(&end),
                "{shown}"
            );
            assert!(!end.bytes().all(|byte| byte.is_ascii_digit()), "{shown} may be an address of version 4");
        }
    }
}
