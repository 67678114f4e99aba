//! Whatever the text, the reader neither panics nor points outside of it, and what is good in it is read.
use std::path::Path;

use archond_actors::domain::{ArchonId, ModelId};
use proptest::prelude::*;

use super::reader::{Sheet, within};
use super::scan::{Shape, outline};
use super::{Environment, Fault, Known, Origin, Paths, ProfileSource, SHIPPED, house, profile};

fn known() -> Known {
    let models = ["gemma-4-e2b", "gemma-4-e4b", "gemma-4-26b-a4b", "gemma-4-31b", "smollm2-135m-instruct"];
    let tools =
        ["bash", "clock", "edit_file", "glob_search", "grep_search", "read_file", "todo", "write_file"];
    Known {
        models: models.map(|name| ModelId::new(name).unwrap()).into(),
        tools: tools.map(str::to_owned).into(),
        skills: ["inference", "multimodal", "operating-this-house"].map(str::to_owned).into(),
        servers: Vec::new(),
        archons: vec![ArchonId::new("electra").unwrap()],
        ..Known::default()
    }
}

fn faults_of(text: &str) -> Vec<Fault> {
    let path = Path::new("archons/ezra.ron").to_owned();
    let source = ProfileSource {
        id: ArchonId::new("ezra").unwrap(),
        origin: Origin::Shipped,
        path,
        text: text.to_owned(),
    };
    let mut faults = profile::read(&source, &known()).err().unwrap_or_default();
    let paths = Paths::below(Path::new("/h"));
    let house =
        house::read(Path::new("archond.ron"), text.to_owned(), &Environment::default(), &paths, &[], &[]);
    faults.extend(house.err().unwrap_or_default());
    faults
}

fn check_places(text: &str) {
    let lines: Vec<&str> = text.split('\n').collect();
    for fault in faults_of(text) {
        let place = fault.place.as_ref().expect("a fault of a file has a place");
        let line = lines.get(place.line - 1).unwrap_or_else(|| panic!("line {} of {text:?}", place.line));
        assert!(place.column <= line.chars().count() + 1, "{place:?} of {text:?}");
        assert!(!fault.to_string().is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_text_is_survived(text in any::<String>()) {
        check_places(&text);
    }

    #[test]
    fn texts_of_ron_tokens_are_survived(
        tokens in prop::collection::vec(
            prop::sample::select(vec![
                "(", ")", "[", "]", "{", "}", ",", ":", "\"", "\\", "'", "'\\''", "r#\"", "\"#", "b\"", "//", "/*", "*/", "\n", " ",
                "persona", "route", "default", "limits", "rules", "when", "1", "-", "0x", "1e999", "ä", "\u{feff}", "#![enable(", "Some(",
            ]),
            0..60,
        )
    ) {
        check_places(&tokens.concat());
        check_places(&format!("({})", tokens.join(" ")));
    }

    #[test]
    fn damaged_profiles_are_survived(
        which in 0..SHIPPED.len(),
        at in any::<prop::sample::Index>(),
        length in 0_usize..40,
        insert in "[\\PC\n]{0,8}",
    ) {
        let text: Vec<char> = SHIPPED[which].1.chars().collect();
        let start = at.index(text.len());
        let end = (start + length).min(text.len());
        let damaged: String = text[..start].iter().copied().chain(insert.chars()).chain(text[end..].iter().copied()).collect();
        check_places(&damaged);
    }
}

#[test]
fn hostile_nesting_is_a_fault_and_no_crash() {
    for (open, close) in [("(a: ", ")"), ("[", "]"), ("(", ")"), ("{", "}"), ("/*", "*/")] {
        let text = format!("(route: {}{})", open.repeat(100_000), close.repeat(100_000));
        check_places(&text);
    }
    check_places(&"(".repeat(500_000));
    check_places(&"((a: [".repeat(100_000));
}

/// Whether the outline of a value is one leaf that ends where the value ends.
fn is_one_leaf(value: &str) -> bool {
    let outline = outline(&format!("(a: {value}, b: 1)"));
    let Some(Shape::Group { fields, .. }) = outline.top.map(|node| node.shape) else { return false };
    let leaf = fields.first().and_then(|field| field.value.as_ref());
    outline.faults.is_empty()
        && fields.len() == 2
        && leaf.is_some_and(|node| {
            matches!(node.shape, Shape::Leaf) && node.span.end - node.span.start == value.len()
        })
}

#[test]
fn every_way_to_write_a_value_is_one_value() {
    for value in [
        "1",
        "-1.5e3",
        "0xff",
        "true",
        "None",
        "Some(1)",
        "Some (1)",
        "\"a, ) ] // \\\" b\"",
        "r\"\\\"",
        "r#\"a \" , )\"#",
        "r##\"\"#\"##",
        "'x'",
        "','",
        "'\\''",
        "'\\u{41}'",
        "b'a'",
        "b\"a)\"",
        "br#\"\"\"#",
        "StartsWith(\"a)\")",
        "A(B(1, [2]), {3: 4})",
        "{1: 2, 3: (4)}",
        "(1, 2)",
        "Some(/* ) */ 1 // )\n)",
        "()x",
        "a/b",
    ] {
        // `()` is an empty group, and what follows it is a fault.
        assert_eq!(is_one_leaf(value), value != "()x", "{value}");
    }
}

#[test]
fn comments_may_stand_everywhere() {
    let text = "/*a/*b*/*/( // c\n /*)*/ n /*:*/ : /*,*/ 4 /*)*/ , // ,\n /* */ ) // end";
    let sheet = Sheet::new(Path::new("a.ron"), text.to_owned());
    let mut top = sheet.top().unwrap();
    assert_eq!(top.value("n", 1_u32, within(0..=9, "")), 4);
    top.finish();
    assert!(sheet.finish().is_ok());
}

#[test]
fn a_field_written_twice_keeps_the_first_and_names_its_line() {
    let sheet = Sheet::new(Path::new("a.ron"), "(\n n: 1,\n n: 2,\n)".to_owned());
    let mut top = sheet.top().unwrap();
    assert_eq!(top.value("n", 0_u32, within(0..=9, "")), 1);
    top.finish();
    let faults = sheet.finish().unwrap_err();
    assert_eq!(faults.len(), 1);
    assert!(
        faults[0].to_string().starts_with("a.ron:3:2: `n` is already in line 2; remove one of them"),
        "{}",
        faults[0]
    );
}

#[test]
fn very_many_faults_are_counted_not_shown() {
    let faults = faults_of(&format!("(autostart: [{}])", ",".repeat(100_000)));
    assert!(faults.len() <= 2 * 101, "{}", faults.len());
    let last = faults.last().unwrap().to_string();
    assert!(last.contains("99900 more faults are not shown; mend those above first"), "{last}");
}
