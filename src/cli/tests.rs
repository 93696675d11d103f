//! The tree of commands: its own consistency, and what a user's line becomes.

use clap::CommandFactory as _;
use clap::error::ErrorKind;

use super::*;

fn parse(line: &str) -> Result<Arguments, ErrorKind> {
    Arguments::try_parse_from(line.split(' ')).map_err(|error| error.kind())
}

#[test]
fn the_tree_of_commands_is_sound_and_every_argument_is_explained() {
    fn walk(command: &clap::Command) {
        assert!(command.get_about().is_some(), "{}", command.get_name());
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
        }
        command.get_subcommands().for_each(walk);
    }
    Arguments::command().debug_assert();
    walk(&Arguments::command());
}

#[test]
fn lines_that_are_understood_and_lines_that_are_not() {
    for good in [
        "ringlog serve",
        "ringlog serve --set a=b --set c=d --data /x --log-format json",
        "ringlog config keys",
    ] {
        assert!(parse(good).is_ok(), "{good}");
    }
    for (wrong, kind) in [
        ("ringlog serve --set a", ErrorKind::ValueValidation),
        ("ringlog serve --log-level inof", ErrorKind::ValueValidation),
        ("ringlog serve --log-format xml", ErrorKind::InvalidValue),
        ("ringlog serve --confg x", ErrorKind::UnknownArgument),
        ("ringlog config check", ErrorKind::MissingRequiredArgument),
        ("ringlog sreve", ErrorKind::InvalidSubcommand),
        ("ringlog", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand),
    ] {
        assert_eq!(parse(wrong).unwrap_err(), kind, "{wrong}");
    }
}
