//! Templates of model files: bounded, and clear about what is wrong with them.
use super::*;

fn refused(template: &str) -> ChatError {
    check(template, &vocabulary(&[])).unwrap_err()
}

#[test]
fn a_template_is_rendered() {
    let template = "{% for m in messages %}[{{ m.role }}]{{ m.content }}\n{% endfor %}[assistant]";
    let format = ChatFamily::Template.format(Some(template), &vocabulary(&[])).unwrap();
    let conversation = Conversation { turns: turns(&["hi"]), ..Conversation::default() };
    assert_eq!(written(&format.render(&conversation).unwrap()), "[user]hi\n[assistant]");
}

#[test]
fn useless_templates_are_refused_with_the_reason() {
    assert!(matches!(refused("{% for m in %}"), ChatError::TemplateSyntax(_)));
    assert_eq!(refused("nothing of what was said"), ChatError::TextLost);
    let endless = "{% for a in range(9999) %}{% for b in range(9999) %}{{ '' }}{% endfor %}{% endfor %}";
    assert!(matches!(refused(endless), ChatError::TemplateTooSlow { .. }));
}
