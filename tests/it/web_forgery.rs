//! Server-side request forgery: whatever a model or a page names, nothing of the house's own network is asked that its owner did not name.
use std::sync::Arc;

use archond::settings::WebSettings;

use crate::web_kit::{World, fetch, moved, naming, page, refused, saying, shop, shop_in};

/// A public address, at which a test puts a server.
const PUBLIC: &str = "93.184.216.34";
const OTHER: &str = "2606:4700::1111";

#[test]
fn addresses_that_lead_home_are_refused_by_the_real_process() {
    let shop = shop(&WebSettings::default());
    for (url, why) in [
        ("http://127.0.0.1/", "private network"),
        ("http://[::1]/", "private network"),
        ("http://10.0.0.1/", "private network"),
        ("http://192.168.1.1/", "private network"),
        ("http://169.254.169.254/latest/meta-data/", "credentials"),
        ("http://[fd00:ec2::254]/", "credentials"),
        ("http://100.100.100.200/", "credentials"),
        ("http://100.64.0.1/", "private network"),
        ("http://198.18.0.1/", "measurements"),
        ("http://0.0.0.0/", "no address"),
        ("http://255.255.255.255/", "no address"),
        ("http://[::ffff:127.0.0.1]/", "version 4"),
        ("http://[::7f00:1]/", "version 4"),
        ("http://[64:ff9b::7f00:1]/", "version 4"),
        ("http://[64:ff9b:1::7f00:1]/", "version 4"),
        ("http://[2002:7f00:1::]/", "version 4"),
        ("http://[2001:0:1::1]/", "version 4"),
        ("http://[2a00::5efe:7f00:1]/", "version 4"),
        ("http://[fc00::1]/", "private network"),
        ("http://[fe80::1]/", "private network"),
        ("http://[fec0::1]/", "no address"),
        ("http://[ff02::1]/", "no address"),
        ("http://2130706433/", "would be read as `127.0.0.1`"),
        ("http://0x7f.1/", "would be read as `127.0.0.1`"),
        ("http://0177.0.0.1/", "would be read as `127.0.0.1`"),
        ("http://127.1/", "would be read as `127.0.0.1`"),
        ("http://localhost/", "private network"),
        ("http://localhost./", "without a dot"),
        ("http://example.com./", "without a dot"),
        ("http://metadata.google.internal/", "private network"),
        ("http://printer.local/", "private network"),
        ("http://router/", "private network"),
        ("http://ada:secret@93.184.216.34/", "user name or password"),
        ("http://93.184.216.34:22/", "port 22"),
        ("file:///etc/passwd", "`file:` is not asked"),
        ("https://api.openai.com/v1/models", "somebody else's models"),
        ("https://api.anthropic.com/", "somebody else's models"),
        ("https://generativelanguage.googleapis.com/", "somebody else's models"),
    ] {
        refused(&shop, url, why);
    }
}

#[test]
fn a_public_page_is_read_and_the_connection_goes_where_the_name_was_seen_to_lead() {
    let server = saying(page("text/plain", b"public"));
    // Whoever looked the name up a second time would be led home.
    let world = World::default().name("example.com", &[&[PUBLIC], &["127.0.0.1"]]).server(PUBLIC, &server);
    let world = Arc::new(world);
    let shop = shop_in(&WebSettings::default(), &world);
    assert!(fetch(&shop, "http://example.com/").unwrap().ends_with("> public"));
    assert_eq!((world.looked_up(), world.connected()), (1, vec![format!("{PUBLIC}:80")]));
    assert!(server.heads()[0].contains("\r\nhost: example.com\r\n"), "{:?}", server.heads());
    // The next call is the second look-up.
    refused(&shop, "http://example.com/", "`example.com` leads to 127.0.0.1, which is not asked");
    assert_eq!((world.looked_up(), world.connected().len()), (2, 1));
}

#[test]
fn one_private_address_among_public_ones_refuses_the_name() {
    let server = saying(page("text/plain", b"public"));
    for bad in
        ["127.0.0.1", "10.0.0.7", "::1", "::ffff:127.0.0.1", "169.254.169.254", "fe80::1", "64:ff9b::7f00:1"]
    {
        for order in [[PUBLIC, bad], [bad, PUBLIC]] {
            let world = Arc::new(World::default().name("mixed.com", &[&order]).server(PUBLIC, &server));
            refused(&shop_in(&WebSettings::default(), &world), "http://mixed.com/", "which is not asked");
            assert_eq!(world.connected(), Vec::<String>::new(), "{order:?}");
        }
    }
    let world = Arc::new(World::default().name("both.com", &[&[OTHER, PUBLIC]]).server(PUBLIC, &server));
    let shop = shop_in(&WebSettings::default(), &world);
    assert!(fetch(&shop, "http://both.com/").unwrap().ends_with("> public"), "the second address is tried");
    assert_eq!(world.connected(), [format!("[{OTHER}]:80"), format!("{PUBLIC}:80")]);
}

#[test]
fn a_page_cannot_lead_home() {
    let home = saying(page("text/plain", b"home"));
    for (location, why) in [
        ("http://127.0.0.1/", "private network"),
        ("http://[::ffff:127.0.0.1]/", "version 4"),
        ("http://169.254.169.254/", "credentials"),
        ("http://2130706433/", "would be read as"),
        ("//0x7f.1/", "would be read as"),
        ("http://localhost/", "private network"),
        ("http://rebound.com/", "private network"),
        ("http://ada:x@example.com/", "user name or password"),
        ("file:///etc/passwd", "`file:` is not asked"),
        ("http://api.openai.com/", "somebody else's models"),
    ] {
        let server = saying(moved(location));
        let names = World::default().name("example.com", &[&[PUBLIC], &["127.0.0.1"]]);
        let names = names.name("rebound.com", &[&["127.0.0.1"]]);
        let world = Arc::new(names.server(PUBLIC, &server).server("127.0.0.1", &home));
        refused(&shop_in(&WebSettings::default(), &world), "http://example.com/", why);
        assert_eq!(world.connected(), [format!("{PUBLIC}:80")], "{location}");
    }
    assert_eq!(home.asked(), Vec::<String>::new());
}

#[test]
fn a_host_that_was_named_leads_no_further_than_it_may() {
    // In the machine's own network, with nothing in between.
    let home = saying(page("text/plain", b"home"));
    let named = saying(moved(&home.url("/")));
    let shop = shop(&naming(&[named.address.to_string()]));
    refused(&shop, &named.url("/"), "127.0.0.1, which is not asked");
    assert_eq!((named.asked().len(), home.asked().len()), (1, 0));
}

#[test]
fn a_strangers_page_does_not_choose_what_is_asked_for_at_home() {
    let home = saying(page("text/plain", b"home"));
    let stranger = saying(moved("http://wiki.lan/delete?all=yes"));
    let world = World::default().name("wiki.lan", &[&["192.168.1.7"]]).name("example.com", &[&[PUBLIC]]);
    let world = Arc::new(world.server("192.168.1.7", &home).server(PUBLIC, &stranger));
    let shop = shop_in(&naming(&["wiki.lan".to_owned()]), &world);
    refused(&shop, "http://example.com/", "from outside to `wiki.lan`");
    assert_eq!(home.asked(), Vec::<String>::new());
    assert!(fetch(&shop, "http://wiki.lan/").unwrap().ends_with("> home"), "asked for itself it is read");
}

#[test]
fn a_named_host_never_leads_to_where_clouds_keep_credentials() {
    let home = saying(page("text/plain", b"home"));
    let world = World::default()
        .name("wiki.lan", &[&["192.168.1.7", "169.254.169.254"]])
        .server("192.168.1.7", &home);
    let world = Arc::new(world);
    refused(&shop_in(&naming(&["wiki.lan".to_owned()]), &world), "http://wiki.lan/", "credentials");
    assert_eq!(world.connected(), Vec::<String>::new());
}

#[test]
fn a_proxy_of_the_environment_is_not_asked() {
    let proxy = saying(page("text/plain", b"proxy"));
    let server = saying(page("text/plain", b"straight"));
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(home.path().join("config")).unwrap();
    let settings = format!("(web: (hosts: [\"{}\"]))", server.address);
    std::fs::write(home.path().join("config/archond.ron"), settings).unwrap();
    let mut command = std::process::Command::new(crate::tools_kit::PROGRAM);
    for name in ["http_proxy", "HTTP_PROXY", "ALL_PROXY"] {
        command.env(name, proxy.url(""));
    }
    let arguments = format!(r#"{{"url":"{}"}}"#, server.url("/"));
    let output = command
        .args(["tool", "call", "web_fetch", &arguments])
        .env("ARCHOND_HOME", home.path())
        .output()
        .unwrap();
    assert!(crate::kit::text(&output).contains("> straight"), "{}", crate::kit::text(&output));
    assert_eq!(proxy.asked(), Vec::<String>::new());
}
