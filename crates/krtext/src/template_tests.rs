use super::*;

const USER: &str = r#"[{"role": "user", "content": "hi"}]"#;

fn render(source: &str, input: &Input) -> Result<String> {
    Template::compile(source)?.render(input)
}

fn render_user(source: &str) -> Result<String> {
    let input = Input {
        messages: USER,
        ..Input::default()
    };
    render(source, &input)
}

#[test]
fn chatml_renders() {
    let source = concat!(
        "{% for m in messages %}\n",
        "{{ '<|im_start|>' + m.role + '\\n' + m['content'] }}<|im_end|>\n",
        "{% endfor %}\n",
        "{% if add_generation_prompt %}\n<|im_start|>assistant\n{% endif %}\n",
    );
    let input = Input {
        messages: USER,
        add_generation_prompt: true,
        ..Input::default()
    };
    let expected = "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n";
    assert_eq!(render(source, &input).unwrap(), expected);
}

#[test]
fn blocks_are_trimmed_as_transformers_does() {
    assert_eq!(
        render_user("a\n  {% if true %}\n  b\n  {% endif %}\nc\n").unwrap(),
        "a\n  b\nc"
    );
}

#[test]
fn kwargs_and_special_tokens_are_variables() {
    let input = Input {
        messages: USER,
        bos_token: Some("<s>"),
        kwargs: Some(r#"{"enable_thinking": false, "eos_token": "mine"}"#),
        eos_token: Some("</s>"),
        ..Input::default()
    };
    let source =
        "{{ bos_token }}|{{ eos_token }}|{{ enable_thinking is false }}|{{ tools is none }}";
    assert_eq!(render(source, &input).unwrap(), "<s>|mine|True|True");
}

#[test]
fn a_reserved_name_in_kwargs_is_refused() {
    let input = Input {
        messages: USER,
        kwargs: Some(r#"{"messages": []}"#),
        ..Input::default()
    };
    assert_eq!(
        render("", &input).unwrap_err().status,
        Status::InvalidArgument
    );
}

#[test]
fn a_key_named_items_does_not_hide_the_method() {
    let input = Input {
        messages: r#"[{"items": 1, "get": 2}]"#,
        ..Input::default()
    };
    let source = "{% for k, v in messages[0].items() %}{{ k }}={{ v }};{% endfor %}\
                  {{ messages[0]['items'] }}{{ messages[0].get('none', 3) }}";
    assert_eq!(render(source, &input).unwrap(), "items=1;get=2;13");
}

#[test]
fn generation_tags_print_their_body() {
    let source =
        "x\n  {%- generation -%}\n  y\n  {%- endgeneration %}\nz{% if true %}!{% endif %}{%";
    assert!(Template::compile(source).is_err());
    assert_eq!(render_user(&source[..source.len() - 2]).unwrap(), "xyz!");
}

#[test]
fn syntax_errors_name_the_line() {
    let error = Template::compile("a\n{% for %}\n").err().unwrap();
    assert_eq!(error.status, Status::Parse);
    assert!(error.message.starts_with("line 2: "), "{}", error.message);
}

#[test]
fn render_errors_name_the_line() {
    let error = render_user("\n\n{{ messages.x.y }}").unwrap_err();
    assert_eq!(error.status, Status::Render);
    assert!(error.message.starts_with("line 3: "), "{}", error.message);
}

#[test]
fn raise_exception_is_told_apart_also_inside_a_macro() {
    let source =
        "{% macro f() %}{{ raise_exception('roles must alternate') }}{% endmacro %}{{ f() }}";
    let error = render_user(source).unwrap_err();
    assert_eq!(error.status, Status::Raised);
    assert_eq!(error.message, "roles must alternate");
}

#[test]
fn malformed_json_names_the_part() {
    let mut input = Input {
        messages: "[",
        ..Input::default()
    };
    let error = render("", &input).unwrap_err();
    assert_eq!(error.status, Status::Parse);
    assert!(error.message.starts_with("messages: "), "{}", error.message);
    input.messages = "{}";
    assert_eq!(render("", &input).unwrap_err().status, Status::Parse);
    input.messages = "[]";
    input.tools = Some("3");
    assert_eq!(render("", &input).unwrap_err().status, Status::Parse);
}

#[test]
fn deep_json_is_refused_instead_of_overflowing_the_stack() {
    let messages = "[".repeat(100_000) + &"]".repeat(100_000);
    let input = Input {
        messages: &messages,
        ..Input::default()
    };
    assert_eq!(
        render("{{ messages }}", &input).unwrap_err().status,
        Status::Parse
    );
}

#[test]
fn endless_recursion_fails_on_a_small_stack() {
    let run = || render_user("{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}").unwrap_err();
    // The default of secondary threads on macOS.
    let thread = std::thread::Builder::new().stack_size(512 * 1024);
    assert_eq!(
        thread.spawn(run).unwrap().join().unwrap().status,
        Status::Render
    );
}

#[test]
fn strftime_now_prints_the_date() {
    let year: i32 = render_user("{{ strftime_now('%Y') }}")
        .unwrap()
        .parse()
        .unwrap();
    assert!(year >= 2025);
    assert_eq!(
        render_user("{{ strftime_now('%d %b %Y') }}").unwrap().len(),
        11
    );
    assert_eq!(
        render_user("{{ strftime_now('%!') }}").unwrap_err().status,
        Status::Render
    );
}
