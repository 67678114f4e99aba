//! What the environment says is honoured, and what is no address is refused.
use super::*;

fn read(vars: &[(&str, &str)]) -> Result<Settings, PullError> {
    Settings::read(&|name| vars.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()), &|_| None)
}

#[test]
fn defaults_and_variables() {
    let plain = read(&[("HF_TOKEN", " "), ("HF_ENDPOINT", "")]).unwrap();
    assert_eq!((plain.hub.as_str(), plain.hub_token), ("https://huggingface.co/", None));
    assert_eq!(plain.index.scheme(), "https");
    let set = read(&[
        ("HF_TOKEN", "t"),
        ("HF_ENDPOINT", "https://hub.lan/hf"),
        ("PIP_INDEX_URL", "http://i.lan/s"),
    ])
    .unwrap();
    assert_eq!((set.hub.as_str(), set.index.as_str()), ("https://hub.lan/hf", "http://i.lan/s"));
    assert_eq!(format!("{:?}", set.hub_token), "Some(Token(…))");
}

#[test]
fn what_is_no_address_is_told_without_its_password() {
    let error = read(&[("PIP_INDEX_URL", "htp://user:geheim@i.lan/s")]).unwrap_err().to_string();
    assert!(
        error.contains("PIP_INDEX_URL") && error.contains("i.lan") && !error.contains("geheim"),
        "{error}"
    );
    assert!("ftp://x/y".parse::<Origin>().is_err());
    assert_eq!("models".parse::<Origin>().unwrap(), Origin::Path("models".into()));
    let shown = origin::shown(&Url::parse("https://u:geheim@h/p?sig=1#f").unwrap());
    assert_eq!(shown, "https://h/p");
}
