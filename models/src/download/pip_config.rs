//! Which Python package index this machine uses: pip's and uv's variables, then pip's files, in pip's own order.
use std::path::{Path, PathBuf};

use super::settings::path_var;

/// Python's own index, in the simple form: what pip uses when nothing else is configured.
const INDEX: &str = "https://pypi.org/simple";

/// Where the index was named, and its address.
pub(super) fn index(
    var: &dyn Fn(&str) -> Option<String>,
    file: &dyn Fn(&Path) -> Option<String>,
) -> (String, String) {
    for name in ["PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL"] {
        if let Some(value) = var(name) {
            // uv allows `name=address`.
            let address = value.split_once("=http").map_or(value.clone(), |(_, rest)| format!("http{rest}"));
            return (name.to_owned(), address);
        }
    }
    for path in files(var) {
        if let Some(address) = file(&path).and_then(|text| index_url(&text)) {
            return (format!("index-url in {}", path.display()), address);
        }
    }
    ("the package index".to_owned(), INDEX.to_owned())
}

/// pip's configuration files, the strongest first.
fn files(var: &dyn Fn(&str) -> Option<String>) -> Vec<PathBuf> {
    let named = path_var(var, "PIP_CONFIG_FILE");
    if named.as_deref() == Some(Path::new("/dev/null")) {
        return Vec::new();
    }
    let home = path_var(var, "HOME");
    let config = path_var(var, "XDG_CONFIG_HOME").or_else(|| home.as_ref().map(|h| h.join(".config")));
    let of = |dir: Option<PathBuf>, rest: &str| dir.map(|d| d.join(rest));
    let xdg = var("XDG_CONFIG_DIRS").unwrap_or_else(|| "/etc/xdg".to_owned());
    let mut files: Vec<_> = [
        named,
        of(path_var(var, "VIRTUAL_ENV"), "pip.conf"),
        of(config, "pip/pip.conf"),
        of(home, ".pip/pip.conf"),
        Some(PathBuf::from("/etc/pip.conf")),
    ]
    .into_iter()
    .flatten()
    .collect();
    files.extend(xdg.split(':').filter(|dir| !dir.is_empty()).map(|dir| Path::new(dir).join("pip/pip.conf")));
    files
}

/// `index-url` of a pip.conf: the `download` and `install` sections are stronger than `global`.
fn index_url(text: &str) -> Option<String> {
    let mut found: Option<(u8, String)> = None;
    let mut rank = 0;
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
        if let Some(section) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            rank = match section.trim() {
                "download" => 3,
                "install" => 2,
                "global" => 1,
                _ => 0,
            };
            continue;
        }
        let Some((key, value)) = line.split_once(['=', ':']) else { continue };
        let is_index = key.trim().replace('_', "-") == "index-url" && !value.trim().is_empty();
        if is_index && rank > found.as_ref().map_or(0, |(r, _)| *r) {
            found = Some((rank, value.trim().to_owned()));
        }
    }
    found.map(|(_, address)| address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(vars: &[(&str, &str)], files: &[(&str, &str)], expected: (&str, &str)) {
        let look = |list: &[(&str, &str)], name: &str| {
            list.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned())
        };
        let found = index(&|name| look(vars, name), &|path| look(files, path.to_str().unwrap()));
        assert_eq!((found.0.as_str(), found.1.as_str()), expected);
    }

    #[test]
    fn pips_order_is_kept() {
        let global = ("/etc/pip.conf", "[global]\nindex-url = https://global/simple\n");
        let user =
            ("/home/u/.config/pip/pip.conf", "# mine\n[global]\ntimeout = 3\nindex_url: https://user/simple");
        let download = (
            "/v/pip.conf",
            "[download]\nindex-url=https://d/s\n[global]\nindex-url=https://g/s\n[list]\nindex-url=x",
        );
        check(&[], &[], ("the package index", INDEX));
        check(&[], &[global], ("index-url in /etc/pip.conf", "https://global/simple"));
        let home = ("HOME", "/home/u");
        check(&[home], &[global, user], ("index-url in /home/u/.config/pip/pip.conf", "https://user/simple"));
        check(&[("VIRTUAL_ENV", "/v"), home], &[download, user], ("index-url in /v/pip.conf", "https://d/s"));
        check(
            &[("PIP_INDEX_URL", "https://env/simple"), home],
            &[user],
            ("PIP_INDEX_URL", "https://env/simple"),
        );
        check(
            &[("UV_DEFAULT_INDEX", "corp=https://uv/simple")],
            &[user],
            ("UV_DEFAULT_INDEX", "https://uv/simple"),
        );
        check(&[("PIP_CONFIG_FILE", "/dev/null"), home], &[global, user], ("the package index", INDEX));
        check(
            &[("PIP_CONFIG_FILE", "/p"), home],
            &[("/p", "[install]\nindex-url = https://p"), user],
            ("index-url in /p", "https://p"),
        );
    }
}
