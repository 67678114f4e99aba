//! Single features of schemas, and what becomes of those that a grammar cannot express.
use super::*;

/// What fits and what does not, in both syntaxes, as the only argument `v`; the keywords that are widened.
#[track_caller]
fn check(schema: &Value, fits: &[Value], fits_not: &[Value], widened: &[&str]) {
    let whole = json!({ "type": "object", "properties": { "v": schema }, "required": ["v"] });
    for (style, is_gemma) in [(gemma4(), true), (chatml(), false)] {
        let constraint = one_call(&whole, &style).unwrap_or_else(|error| panic!("{error}: {schema}"));
        let found: Vec<&str> = constraint.widened.iter().map(|widening| widening.keyword.as_str()).collect();
        assert_eq!(found, widened, "{:?}", constraint.widened);
        let matcher = matcher(&constraint);
        for value in fits {
            assert!(matcher.accepts(&call_of(&json!({ "v": value }), is_gemma)), "{value} fits {schema}");
        }
        for value in fits_not {
            assert!(
                !matcher.accepts(&call_of(&json!({ "v": value }), is_gemma)),
                "{value} does not fit {schema}"
            );
        }
    }
}

#[test]
fn what_a_grammar_can_say() {
    check(
        &json!({ "enum": [1, "a", null, [1, { "k": true }]] }),
        &[json!(1), json!([1, { "k": true }])],
        &[json!(2)],
        &[],
    );
    check(
        &json!({ "type": "integer", "minimum": -5, "maximum": 1205 }),
        &[json!(-5), json!(0), json!(999), json!(1205)],
        &[json!(-6), json!(1206), json!(1300), json!("1"), json!(1.5)],
        &[],
    );
    check(
        &json!({ "type": "integer", "exclusiveMinimum": 0, "maximum": 1e3 }),
        &[json!(1), json!(1000)],
        &[json!(0), json!(1001)],
        &[],
    );
    check(
        &json!({ "type": "integer", "minimum": 0.5, "exclusiveMaximum": 3.5 }),
        &[json!(1), json!(3)],
        &[json!(0), json!(4)],
        &[],
    );
    check(
        &json!({ "type": "integer", "minimum": 0, "maximum": 100, "multipleOf": 25 }),
        &[json!(0), json!(75)],
        &[json!(30)],
        &[],
    );
    check(
        &json!({ "type": "number", "minimum": -1, "maximum": 1 }),
        &[json!(-0.5), json!(1), json!(0.25)],
        &[json!(1.5), json!(-2)],
        &[],
    );
}

#[test]
fn what_a_grammar_can_say_of_several_types_and_schemas() {
    check(&json!({ "type": ["integer", "null"] }), &[json!(3), Value::Null], &[json!("x")], &[]);
    check(&json!({ "type": "string", "nullable": true }), &[json!("x"), Value::Null], &[json!(1)], &[]);
    check(&json!({}), &[json!([{ "a": [null, 1.5, "x"] }]), json!(true)], &[], &[]);
    check(&json!(true), &[json!("x")], &[], &[]);
    check(
        &json!({ "properties": { "a": { "type": "string" } } }),
        &[json!({}), json!({ "a": "x" })],
        &[json!({ "b": 1 }), json!(1)],
        &[],
    );
    check(
        &json!({ "type": "object", "additionalProperties": { "type": "integer" } }),
        &[json!({ "x/y": 1 })],
        &[json!({ "x": "1" })],
        &[],
    );
    check(
        &json!({ "type": "object", "patternProperties": { "^x-": { "type": "string" } }, "additionalProperties": false }),
        &[json!({ "x-a": "1" }), json!({})],
        &[json!({ "y-a": "1" }), json!({ "x-a": 1 })],
        &[],
    );
    check(
        &json!({ "allOf": [{ "properties": { "a": { "type": "integer" } }, "required": ["a"] }, { "properties": { "a": { "minimum": 3 }, "b": {} } }] }),
        &[json!({ "a": 3 }), json!({ "a": 9, "b": "x" })],
        &[json!({ "a": 2 }), json!({ "b": 1 })],
        &[],
    );
    check(
        &json!({ "type": "object", "properties": { "a": { "type": "integer" }, "b": { "type": "integer" } }, "anyOf": [{ "required": ["a"] }, { "required": ["b"] }] }),
        &[json!({ "a": 1 }), json!({ "b": 1 }), json!({ "a": 1, "b": 2 })],
        &[json!({}), json!({ "a": "x" })],
        &[],
    );
}

#[test]
fn what_a_grammar_can_say_of_lists_and_strings() {
    check(
        &json!({ "type": "array", "items": [{ "type": "integer" }, { "type": "string" }], "additionalItems": false }),
        &[json!([1, "x"]), json!([])],
        &[json!(["x"]), json!([1, "x", 2])],
        &[],
    );
    check(
        &json!({ "type": "array", "items": { "type": "integer" }, "minItems": 1, "maxItems": 2 }),
        &[json!([1]), json!([1, 2])],
        &[json!([]), json!([1, 2, 3])],
        &[],
    );
    check(
        &json!({ "type": "string", "maxLength": 3, "pattern": "^a" }),
        &[json!("abc"), json!("a\"\n")],
        &[json!("abcd"), json!("b")],
        &[],
    );
    check(&json!({ "type": "array", "items": false }), &[json!([])], &[json!([1])], &[]);
}

#[test]
fn what_a_grammar_cannot_say_is_left_open() {
    check(
        &json!({ "type": "string", "pattern": "(?=a)b" }),
        &[json!("anything < | >")],
        &[json!(1)],
        &["pattern"],
    );
    check(&json!({ "type": "string", "format": "uri" }), &[json!("x")], &[json!(1)], &["format"]);
    check(
        &json!({ "type": "string", "maxLength": 50_000 }),
        &[json!("x".repeat(400))],
        &[],
        &["minLength/maxLength"],
    );
    check(
        &json!({ "type": "array", "items": { "type": "integer" }, "maxItems": 5000 }),
        &[json!(vec![1; 200])],
        &[json!(["x"])],
        &["minItems/maxItems"],
    );
    check(
        &json!({ "type": "number", "minimum": 0.5, "exclusiveMaximum": 9 }),
        &[json!(0.5), json!(0.25)],
        &[json!(-1)],
        &["minimum/maximum"],
    );
    check(&json!({ "type": "integer", "multipleOf": 7 }), &[json!(8)], &[json!("x")], &["multipleOf"]);
    check(&json!({ "type": "string", "not": { "const": "x" } }), &[json!("x")], &[], &["not"]);
    check(
        &json!({ "oneOf": [{ "type": "integer" }, { "type": "number" }] }),
        &[json!(1)],
        &[json!("x")],
        &["oneOf"],
    );
    check(&json!({ "type": "blob" }), &[json!([1])], &[], &["blob"]);
}

#[test]
fn a_name_or_value_that_calls_cannot_hold_is_left_out() {
    let schema = json!({ "type": "object", "properties": {
        "a:b": { "type": "string" }, "mark": { "enum": ["x<|\"|>y", "plain"] }, "marks": { "type": "string", "pattern": "^<\\|.\\|>$" },
    } });
    let constraint = one_call(&schema, &gemma4()).unwrap();
    let keywords: Vec<&str> = constraint.widened.iter().map(|widening| widening.keyword.as_str()).collect();
    assert_eq!(keywords, ["a:b", "enum", "pattern"]);
    let matcher = matcher(&constraint);
    assert!(matcher.accepts("<|tool_call>call:do_it{mark:<|\"|>plain<|\"|>}<tool_call|>"));
    assert!(matcher.accepts("<|tool_call>call:do_it{marks:<|\"|>any <tex| <|t <|\"|>}<tool_call|>"));
    for inside in ["x<|\"|>y", "<tool_call|>", "<|channel>", "<|turn>", "a<turn|>"] {
        let call = format!("<|tool_call>call:do_it{{marks:<|\"|>{inside}<|\"|>}}<tool_call|>");
        assert!(!matcher.accepts(&call), "{call}");
    }
    assert_eq!(one_call(&schema, &chatml()).unwrap().widened.len(), 0, "JSON can hold all of them");
}

#[test]
fn only_what_is_no_schema_is_refused() {
    let refused = |schema: Value| one_call(&schema, &gemma4()).unwrap_err();
    assert_eq!(refused(json!(3)), GrammarError::NotASchema { place: String::new() });
    assert_eq!(
        refused(json!({ "properties": { "a": 3 } })),
        GrammarError::NotASchema { place: "/properties/a".to_owned() }
    );
    assert_eq!(refused(json!(false)), GrammarError::Unsatisfiable);
    assert_eq!(
        refused(json!({ "required": ["a"], "properties": { "a": false } })),
        GrammarError::Unsatisfiable
    );
    assert_eq!(
        refused(json!({ "required": ["a"], "properties": { "a": { "$ref": "#" } } })),
        GrammarError::Unsatisfiable,
        "it never ends"
    );
    assert!(matches!(refused(json!({ "$ref": "#/$defs/none" })), GrammarError::NoSuchReference { .. }));
    assert!(matches!(
        refused(json!({ "allOf": [{ "$ref": "#" }] })),
        GrammarError::TooDeep { .. } | GrammarError::SchemaTooLarge { .. }
    ));
    let wide: Vec<Value> = (0..30_000).map(|number| json!({ "const": number.to_string() })).collect();
    assert!(
        matches!(refused(json!({ "properties": { "a": { "anyOf": wide } } })), GrammarError::SchemaTooLarge { found, max, .. } if found > max)
    );
    let words: Vec<String> = (0..3000).map(|number| format!("{number:050}")).collect();
    let copies = json!({ "enum": words, "anyOf": vec![json!({}); 15_000] });
    assert!(matches!(
        refused(json!({ "properties": { "a": copies } })),
        GrammarError::SchemaTooLarge { what: "bytes to look at", .. }
    ));
    let many: Vec<usize> = (0..10_001).collect();
    assert!(matches!(
        refused(json!({ "properties": { "a": { "enum": many } } })),
        GrammarError::SchemaTooLarge { what: "enum", .. }
    ));
    let mut deep = json!({ "type": "string" });
    for _ in 0..60 {
        deep = json!({ "type": "array", "items": deep });
    }
    assert!(one_call(&json!({ "properties": { "a": deep } }), &gemma4()).is_ok());
    let tool = Tool { name: "x".to_owned(), description: String::new(), parameters: "{".to_owned() };
    assert!(matches!(
        for_calls(&[tool], &CallRule::Free, false, &gemma4()),
        Err(GrammarError::NotJson { .. })
    ));
}

#[test]
fn rules_of_calls() {
    let tools =
        [tool("a", &json!({})), tool("b.c-d", &json!({ "properties": { "n": { "type": "integer" } } }))];
    let of = |rule: CallRule, parallel, style: &Style| for_calls(&tools, &rule, parallel, style);
    let (a, b) = ("<|tool_call>call:a{}<tool_call|>", "<|tool_call>call:b.c-d{n:3}<tool_call|>");
    let thought = "<|channel>thought\nwhat < if\n<channel|>";
    let free = of(CallRule::Free, true, &gemma4()).unwrap().unwrap();
    assert_eq!(free.lazy, Some(Trigger::Token(48)));
    let fits = |constraint: &Constraint, text: &str| matcher(constraint).accepts(text);
    assert!(
        fits(&free, a)
            && fits(&free, &format!("{b}{a}{b}"))
            && !fits(&free, "hello")
            && !fits(&free, &a.repeat(17))
    );
    let required = of(CallRule::Required, false, &gemma4()).unwrap().unwrap();
    assert_eq!(required.lazy, None);
    assert!(
        fits(&required, a)
            && fits(&required, &format!("{thought}{b}"))
            && !fits(&required, &format!("{a}{b}"))
    );
    assert!(!fits(&required, &format!("<|channel>thought\n{a}<channel|>{b}")), "no call inside of a thought");
    let named = of(CallRule::Named("b.c-d".to_owned()), false, &gemma4()).unwrap().unwrap();
    assert!(fits(&named, b) && !fits(&named, a));
    let never = of(CallRule::Never, false, &gemma4()).unwrap().unwrap();
    assert_eq!((never.gbnf, never.banned), (None, vec![48]));
    let never = of(CallRule::Never, false, &chatml()).unwrap().unwrap();
    assert!(fits(&never, "a <tool_cal> b") && !fits(&never, "a <tool_call> b"));
    let words = of(CallRule::Free, false, &chatml()).unwrap().unwrap();
    assert_eq!(words.lazy, Some(Trigger::Words("<tool_call>".to_owned())));
    assert_eq!(for_calls(&[], &CallRule::Free, false, &gemma4()), Ok(None));
    assert!(matches!(
        of(CallRule::Named("z".to_owned()), false, &gemma4()),
        Err(GrammarError::NoSuchTool { .. })
    ));
    let bad = [tool("a{", &json!({}))];
    assert!(matches!(
        for_calls(&bad, &CallRule::Free, false, &gemma4()),
        Err(GrammarError::BadToolName { .. })
    ));
}

#[test]
fn shapes_of_answers() {
    let of = |shape: Shape| for_shape(&shape, &gemma4());
    assert_eq!(of(Shape::Free), Ok(None));
    let object = of(Shape::JsonObject).unwrap().unwrap();
    let fits = |constraint: &Constraint, text: &str| matcher(constraint).accepts(text);
    assert!(fits(&object, r#"{"a": [1, {"b":null}], "é": "\\ \" \u00e9"}"#));
    assert!(fits(&object, "<|channel>thought\nhm<channel|>{}"));
    for bad in ["[]", "{\n}", "{} ", "{\"a\":\"\n\"}", r#"{"a":"\ud800"}"#, "{\"a\":\"<|turn>\"}"] {
        assert!(!fits(&object, bad), "{bad}");
    }
    let list =
        of(Shape::JsonSchema(r#"{"type":"array","items":{"type":"boolean"}}"#.to_owned())).unwrap().unwrap();
    assert!(fits(&list, "[true, false]") && !fits(&list, "[1]"));
    let form = AnswerForm { shape: Shape::JsonObject, ..AnswerForm::default() };
    let either = for_answer(&[tool("a", &json!({}))], &form, &gemma4()).unwrap().unwrap();
    assert!(
        fits(&either, "{}") && fits(&either, "<|tool_call>call:a{}<tool_call|>") && !fits(&either, "hello")
    );
    assert_eq!(either.lazy, None);
}

#[test]
fn keys_have_their_place() {
    let object = r#"{"type":"object","properties":{"why":{"type":"integer"},"answer":{"type":"integer"}},"required":["why","answer","also"]}"#;
    let json =
        for_shape(&Shape::JsonSchema(object.to_owned()), &gemma4().without_thought()).unwrap().unwrap();
    let fits = |text: &str| matcher(&json).accepts(text);
    assert!(fits(r#"{"why":1,"answer":2,"also":3}"#) && !fits(r#"{"answer":2,"why":1,"also":3}"#));
    let both = format!(r#"{{"allOf":[{object},{{"properties":{{"before":{{"const":1}}}}}}]}}"#);
    let json = for_shape(&Shape::JsonSchema(both), &gemma4()).unwrap().unwrap();
    assert!(matcher(&json).accepts(r#"{"why":1,"answer":2,"before":1,"also":3}"#));
    let tool = Tool { name: "t".to_owned(), description: String::new(), parameters: object.to_owned() };
    let call = for_calls(&[tool], &CallRule::Required, false, &gemma4()).unwrap().unwrap();
    assert!(matcher(&call).accepts("<|tool_call>call:t{answer:2,why:1,also:3}<tool_call|>"));
}

#[test]
fn grammars_of_others_are_read_before_llama_cpp_reads_them() {
    let of = |text: &str| for_shape(&Shape::Grammar(text.to_owned()), &gemma4());
    let grammar = "# a remark\nroot ::= greeting (\", \" name){1,3} [^a-z\\n]? .\nname ::= \"Ezra\" |\n  \"B\\x65z\"\ngreeting::=<[7]> | \"hi\"+";
    let constraint = of(grammar).unwrap().unwrap();
    let matcher = matcher(&constraint);
    assert!(matcher.accepts("hihi, Ezra, Bez!x") && !matcher.accepts("hi!x"));
    let text = constraint.gbnf.unwrap();
    assert!(text.starts_with("root ::= ") && text.contains("<[7]>"), "{text}");
    for (bad, wanted) in [
        ("x ::= \"a\"", "no rule `root`"),
        ("root ::= b", "no rule `b`"),
        ("root ::= root \"a\" | \"a\"", "begins with itself"),
        ("root ::= a root | \"x\"\na ::= b\nb ::= \"\"", "begins with itself"),
        ("root ::= (\"a\"*)*", "repeats the empty"),
        ("root ::= \"a", "line 1"),
        ("root ::= [", "line 1"),
        ("root ::= \"a\"\nb ::= )", "line 2"),
        ("root = \"a\"", "`::=`"),
        ("root ::= \"a\"{3000}", "up to 2000"),
        ("root ::= (\"a\"{0,90} \"b\"){90}", "too large"),
        ("root ::= \"a\"{2,1}", "not below"),
        ("root ::= a\na ::= a2 | \"x\"\na2 ::= a", "begins with itself"),
        ("", "no rule `root`"),
        ("root ::= \"a\" root", "nothing satisfies"),
    ] {
        let error = of(bad).expect_err(bad).to_string();
        assert!(error.contains(wanted), "{bad}: {error}");
    }
    let nested = format!("root ::= {}\"a\"{}", "(".repeat(100), ")".repeat(100));
    assert!(matches!(of(&nested), Err(GrammarError::TooDeep { .. })));
    let entangled: String =
        (0..40).map(|n| format!("r{n} ::= r{m} \"x\" | r{m} \"y\"\n", m = n + 1)).collect();
    let entangled = format!("root ::= r0\n{entangled}r40 ::= \"z\"");
    assert!(
        matches!(of(&entangled), Err(GrammarError::TooEntangled { .. })),
        "llama.cpp would look at 2^40 ways"
    );
}
