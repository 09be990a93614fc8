//! One man page: what `--help` says, in the order in which man pages say it.

use crate::args::EXIT_CODES;
use clap::Command;
use clap::builder::PossibleValue;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use std::collections::BTreeSet;

/// As the page is called: `siding-publish-plan`.
pub(crate) fn name(command: &Command) -> String {
    command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned()
}

/// The page of a command that was built, below those.
pub(crate) fn page(command: &Command, above: &[&Command], date: &str) -> String {
    let head = Man::new(worded(command))
        .title(name(command).to_uppercase())
        .date(date)
        .source(concat!("siding ", env!("CARGO_PKG_VERSION")))
        .manual("Siding");
    let mut text = Vec::new();
    let mut own = Roff::new();
    for section in [exit_status, files, examples] {
        section(&mut own, command);
    }
    see_also(&mut own, command, above);
    let verbs = command.has_subcommands();
    let written = head
        .render_title(&mut text)
        .and_then(|()| head.render_name_section(&mut text))
        .and_then(|()| head.render_synopsis_section(&mut text))
        .and_then(|()| head.render_description_section(&mut text))
        .and_then(|()| if verbs { head.render_subcommands_section(&mut text) } else { Ok(()) })
        .and_then(|()| head.render_options_section(&mut text))
        .and_then(|()| own.to_writer(&mut text));
    // Memory takes what is written to it.
    debug_assert!(written.is_ok());
    portable(&String::from_utf8_lossy(&text))
}

/// In the words of a man page: what every verb takes stands apart, and values stand in the sentence they belong to.
fn worded(command: &Command) -> Command {
    let command = command.clone().subcommand_help_heading("VERBS").subcommand_value_name("VERB");
    command.mut_args(|argument| {
        // Told by what it does: `siding init` has a --version of its own.
        let printed = !argument.get_action().takes_values()
            && ["help", "version"].contains(&argument.get_id().as_str());
        let argument = if printed || argument.is_global_set() {
            argument.help_heading("Options of every verb")
        } else {
            argument
        };
        let values: Vec<String> = argument.get_possible_values().iter().map(value).collect();
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        match argument.get_id().as_str() {
            "help" => argument.long_help("Print help"),
            _ if values.is_empty() || !argument.get_action().takes_values() => argument,
            _ => argument.hide_possible_values(true).long_help(format!("{help}: {}", values.join(", "))),
        }
    })
}

fn value(value: &PossibleValue) -> String {
    let name = value.get_name();
    value.get_help().map_or_else(|| name.to_owned(), |help| format!("{name} ({})", lower(&help.to_string())))
}

/// As it is written within a sentence.
fn lower(help: &str) -> String {
    let mut letters = help.chars();
    let first = letters.next().map(|first| first.to_lowercase().to_string());
    first.unwrap_or_default() + letters.as_str()
}

/// With the beginning that each part brings only once, and in ASCII, which every `man` reads the same.
fn portable(text: &str) -> String {
    let beginning = Roff::new().render();
    let mut out = beginning.clone();
    for letter in text.replace(&beginning, "").chars() {
        match letter {
            letter if letter.is_ascii() => out.push(letter),
            letter => out.push_str(&format!("\\[u{:04X}]", u32::from(letter))),
        }
    }
    out
}

/// The codes as `siding --help` lists them.
fn exit_status(roff: &mut Roff, _: &Command) {
    roff.control("SH", ["EXIT STATUS"]);
    let codes = EXIT_CODES.lines().next().and_then(|line| line.strip_prefix("Exit codes: "));
    for (code, meaning) in codes.unwrap_or_default().split(" · ").filter_map(|code| code.split_once(' ')) {
        entry(roff, code, meaning);
    }
}

/// What lies where, by the options that say otherwise.
fn files(roff: &mut Roff, command: &Command) {
    let has = |id: &str| command.get_arguments().any(|argument| argument.get_id() == id);
    let wanted: Vec<_> = FILES.iter().filter(|(option, _, _)| has(option)).collect();
    if !wanted.is_empty() {
        roff.control("SH", ["FILES"]);
    }
    for (_, file, what) in wanted {
        entry(roff, file, what);
    }
}

const FILES: [(&str, &str, &str); 9] = [
    ("config", "/etc/siding/agent.toml", "what the agent does by itself; every setting with its default"),
    ("config", "/etc/siding/agent.d/*.toml", "drop-ins, each stronger than the one before it"),
    ("config", "/etc/siding/admin.toml", "what the administrator locks"),
    ("store", "/var/lib/siding", "the store: the record, and the slots of every component"),
    ("store", "/var/lib/siding/current/NAME", "what is in use of a component"),
    ("store", "/var/lib/siding/trust/*.pub", "the keys whose signatures on patches count"),
    ("store", "/var/lib/siding/health.d", "programs that say whether what is on trial works"),
    ("store", "/var/lib/siding/restart.d", "programs that restart what patches name"),
    ("store", "/var/lib/siding/projections.toml", "mounts and boot loaders that follow the record"),
];

/// What is after `Example:`, as it is; of the command itself, which says where to begin, its last line.
fn examples(roff: &mut Roff, command: &Command) {
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    roff.control("SH", ["EXAMPLES"]);
    let Some(examples) = help.strip_prefix(EXAMPLE) else {
        roff.text([roman(help.lines().last().unwrap_or_default())]);
        return;
    };
    roff.control("EX", []);
    for line in examples.lines() {
        roff.text([roman(line.strip_prefix(&" ".repeat(EXAMPLE.len())).unwrap_or(line))]);
    }
    roff.control("EE", []);
}

const EXAMPLE: &str = "Example: ";

/// Those above it, those below it, and what its help speaks of.
fn see_also(roff: &mut Roff, command: &Command, above: &[&Command]) {
    let mut names: BTreeSet<String> = above.iter().map(|command| name(command)).collect();
    names.extend(command.get_subcommands().map(name));
    let top = above.first().copied().unwrap_or(command);
    let help = help(command);
    names.extend(top.get_subcommands().filter(|verb| speaks_of(&help, verb)).map(name));
    names.remove(&name(command));
    roff.control("SH", ["SEE ALSO"]);
    let last = names.len().saturating_sub(1);
    for (i, name) in names.into_iter().enumerate() {
        roff.control("BR", [&*name, if i == last { "(1)" } else { "(1)," }]);
    }
}

/// All that is said of a command and its options, not broken into lines.
fn help(command: &Command) -> String {
    let about = command.get_long_about().or_else(|| command.get_about());
    let options =
        command.get_arguments().filter_map(|option| option.get_long_help().or_else(|| option.get_help()));
    about.into_iter().chain(options).map(|said| said.to_string() + "\n").collect()
}

fn speaks_of(help: &str, verb: &Command) -> bool {
    let called = format!("`siding {}", verb.get_name());
    help.split(&called).skip(1).any(|rest| rest.starts_with([' ', '`']))
}

fn entry(roff: &mut Roff, term: &str, what: &str) {
    roff.control("TP", []);
    roff.text([bold(term)]);
    roff.text([roman(what)]);
}
