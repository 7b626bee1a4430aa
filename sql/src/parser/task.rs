//! `CREATE | ALTER | DROP | EXECUTE TASK`.

use datafusion::sql::sqlparser::ast::ObjectName;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::dml::{parse_word, word_is};
use super::materialized_view::{expect_words, parse_words, retries, schedule};
use super::merge::MergeAction;
use super::row_target::{Assignment, Target};
use super::statement::{ConflictAction, InsertMode, Statement};
use super::view::Relations;
use super::{Lines, ParseResult, parse_one, rest_of_text};
use crate::materialize::schedule::Schedule;

/// `CREATE TASK`.
#[derive(Debug, Clone)]
pub struct CreateTask {
    pub name: ObjectName,
    pub or_replace: bool,
    pub if_not_exists: bool,
    pub trigger: TriggerClause,
    pub retries: Option<u32>,
    pub comment: Option<String>,
    /// INSERT, UPDATE, DELETE or MERGE.
    pub statement: Statement,
    pub text: String,
}

/// When a task runs.
#[derive(Debug, Clone)]
pub enum TriggerClause {
    /// When it is told to.
    None,
    Schedule(Schedule),
    /// After these tasks and materialized views.
    After(Vec<ObjectName>),
}

/// `ALTER TASK`.
#[derive(Debug, Clone)]
pub struct AlterTask {
    pub name: ObjectName,
    pub if_exists: bool,
    pub action: AlterTaskAction,
}

#[derive(Debug, Clone)]
pub enum AlterTaskAction {
    Suspend,
    Resume,
    Trigger(TriggerClause),
    /// `None`: as the scheduler has it.
    Retries(Option<u32>),
    Comment(Option<String>),
}

impl CreateTask {
    /// Relations that the statement names: the one that it changes, and those that it reads.
    pub(crate) fn relations(&self) -> Vec<ObjectName> {
        let mut found = Relations::default();
        let target = target_and_reads(&self.statement, &mut found);
        target.into_iter().cloned().chain(found.names()).collect()
    }
}

/// What a statement changes; what it reads is collected.
fn target_and_reads<'a>(statement: &'a Statement, found: &mut Relations) -> Option<&'a ObjectName> {
    let assigned = |assignments: &[Assignment], found: &mut Relations| {
        assignments.iter().for_each(|assignment| found.of(&assignment.value));
    };
    match statement {
        Statement::Insert(insert) => {
            insert.query.iter().for_each(|query| found.of(query));
            match &insert.mode {
                InsertMode::Append | InsertMode::Overwrite => {}
                InsertMode::ReplaceWhere(condition) => found.of(condition),
                InsertMode::OnConflict(clause) => {
                    if let ConflictAction::Update { assignments, selection } = &clause.action {
                        assignments.iter().for_each(|assignment| found.of(assignment));
                        selection.iter().for_each(|condition| found.of(condition));
                    }
                }
            }
            Some(&insert.table)
        }
        Statement::Update(update) => {
            found.of_with(update.with.as_ref());
            assigned(&update.assignments, found);
            update.from.iter().for_each(|table| found.of(table));
            update.selection.iter().for_each(|condition| found.of(condition));
            Some(&update.target.name)
        }
        Statement::Delete(delete) => {
            found.of_with(delete.with.as_ref());
            delete.using.iter().for_each(|table| found.of(table));
            delete.selection.iter().for_each(|condition| found.of(condition));
            Some(&delete.target.name)
        }
        Statement::Merge(merge) => {
            found.of_with(merge.with.as_ref());
            found.of(&merge.source);
            found.of(&merge.on);
            for clause in &merge.clauses {
                clause.condition.iter().for_each(|condition| found.of(condition));
                match &clause.action {
                    MergeAction::Update(assignments) => assigned(assignments, found),
                    MergeAction::Insert { values, .. } => values.iter().for_each(|value| found.of(value)),
                    MergeAction::Nothing
                    | MergeAction::Delete
                    | MergeAction::UpdateAll
                    | MergeAction::InsertAll
                    | MergeAction::InsertDefaults => {}
                }
            }
            let Target { name, .. } = &merge.target;
            Some(name)
        }
        _ => None,
    }
}

/// Whether `CREATE [OR REPLACE] TASK` is next.
pub(super) fn is_next(parser: &Parser) -> bool {
    word_is(parser, 1, "task")
        || (word_is(parser, 1, "or") && word_is(parser, 2, "replace") && word_is(parser, 3, "task"))
}

/// `CREATE [OR REPLACE] TASK [IF NOT EXISTS] name clauses AS statement`.
pub(super) fn create(parser: &mut Parser, text: &str, lines: &Lines) -> ParseResult<Statement> {
    parser.expect_keyword(Keyword::CREATE)?;
    let or_replace = parser.parse_keywords(&[Keyword::OR, Keyword::REPLACE]);
    expect_words(parser, &["task"])?;
    let at = parser.peek_token_ref().span.start;
    let if_not_exists = parser.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
    if or_replace && if_not_exists {
        return Err(ParserError::ParserError(format!(
            "Expected: a name, as OR REPLACE and IF NOT EXISTS exclude each other{at}"
        )));
    }
    let name = parser.parse_object_name(false)?;
    let (mut when, mut tries, mut comment) = (None, None, None);
    loop {
        let token = parser.peek_token_ref().clone();
        if let Some(found) = trigger(parser)? {
            if when.replace(found).is_some() {
                return parser.expected("one of SCHEDULE, TRIGGER ON UPDATE and AFTER", token);
            }
        } else if tries.is_none() && parse_word(parser, "retries") {
            tries = Some(retries(parser)?);
        } else if comment.is_none() && parser.parse_keyword(Keyword::COMMENT) {
            comment = Some(parser.parse_literal_string()?);
        } else {
            break;
        }
    }
    parser.expect_keyword(Keyword::AS)?;
    let token = parser.peek_token_ref().clone();
    let own = rest_of_text(parser, text, lines);
    let statement = match parse_one(parser, text, lines)? {
        statement @ (Statement::Insert(_)
        | Statement::Update(_)
        | Statement::Delete(_)
        | Statement::Merge(_)
        | Statement::Unsupported(_)) => statement,
        _ => return parser.expected("INSERT, UPDATE, DELETE or MERGE", token),
    };
    if let Statement::Unsupported(what) = statement {
        return Ok(Statement::Unsupported(what));
    }
    Ok(Statement::CreateTask(Box::new(CreateTask {
        name,
        or_replace,
        if_not_exists,
        trigger: when.unwrap_or(TriggerClause::None),
        retries: tries,
        comment,
        statement,
        text: own,
    })))
}

/// `SCHEDULE …`, `TRIGGER ON UPDATE …`, `AFTER names`. `None`: another clause is next.
fn trigger(parser: &mut Parser) -> ParseResult<Option<TriggerClause>> {
    let token = parser.peek_token_ref().clone();
    if parse_word(parser, "after") {
        let names = parser.parse_comma_separated(|p| p.parse_object_name(false))?;
        return Ok(Some(TriggerClause::After(names)));
    }
    match schedule(parser)? {
        // A task does not say what its rows are made from.
        Some(Schedule::TargetLag(_)) => parser.expected("SCHEDULE, TRIGGER ON UPDATE or AFTER", token),
        found => Ok(found.map(TriggerClause::Schedule)),
    }
}

/// `ALTER TASK [IF EXISTS] name {SUSPEND | RESUME | SET … | UNSET … | DROP SCHEDULE}`.
pub(super) fn alter(parser: &mut Parser) -> ParseResult<Statement> {
    expect_words(parser, &["alter", "task"])?;
    let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
    let name = parser.parse_object_name(false)?;
    let action = action(parser)?;
    Ok(Statement::AlterTask(Box::new(AlterTask { name, if_exists, action })))
}

fn action(parser: &mut Parser) -> ParseResult<AlterTaskAction> {
    if parse_word(parser, "suspend") {
        return Ok(AlterTaskAction::Suspend);
    }
    if parse_word(parser, "resume") {
        return Ok(AlterTaskAction::Resume);
    }
    if parse_words(parser, &["drop", "schedule"]) {
        return Ok(AlterTaskAction::Trigger(TriggerClause::None));
    }
    if parse_word(parser, "unset") {
        if parse_word(parser, "schedule") || parse_word(parser, "after") || parse_word(parser, "trigger") {
            return Ok(AlterTaskAction::Trigger(TriggerClause::None));
        }
        if parse_word(parser, "retries") {
            return Ok(AlterTaskAction::Retries(None));
        }
        if parse_word(parser, "comment") {
            return Ok(AlterTaskAction::Comment(None));
        }
        return parser.expected_ref("SCHEDULE, AFTER, TRIGGER, RETRIES or COMMENT", parser.peek_token_ref());
    }
    if !parse_word(parser, "set") {
        return parser.expected_ref("SUSPEND, RESUME, SET, UNSET or DROP SCHEDULE", parser.peek_token_ref());
    }
    if let Some(trigger) = trigger(parser)? {
        return Ok(AlterTaskAction::Trigger(trigger));
    }
    if parse_word(parser, "retries") {
        return Ok(AlterTaskAction::Retries(Some(retries(parser)?)));
    }
    if parse_word(parser, "comment") {
        let _ = parser.consume_token(&Token::Eq);
        return Ok(AlterTaskAction::Comment(Some(parser.parse_literal_string()?)));
    }
    parser.expected_ref("SCHEDULE, TRIGGER ON UPDATE, AFTER, RETRIES or COMMENT", parser.peek_token_ref())
}

/// `DROP TASK [IF EXISTS] names [CASCADE | RESTRICT]`.
pub(super) fn drop_task(parser: &mut Parser) -> ParseResult<Statement> {
    expect_words(parser, &["drop", "task"])?;
    let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
    let names = parser.parse_comma_separated(|p| p.parse_object_name(false))?;
    let cascade =
        parser.parse_one_of_keywords(&[Keyword::CASCADE, Keyword::RESTRICT]) == Some(Keyword::CASCADE);
    Ok(Statement::DropTask { names, if_exists, cascade })
}

/// `EXECUTE TASK name [CASCADE]`. `None`: it is of a prepared statement; nothing was consumed.
pub(super) fn execute(parser: &mut Parser) -> ParseResult<Option<Statement>> {
    let names_one = matches!(parser.peek_nth_token_ref(2).token, Token::Word(_));
    if !(word_is(parser, 1, "task") && names_one) {
        return Ok(None);
    }
    expect_words(parser, &["execute", "task"])?;
    let name = parser.parse_object_name(false)?;
    let cascade = parse_word(parser, "cascade");
    Ok(Some(Statement::ExecuteTask { name, cascade }))
}
