//! Statements as parsed: one variant per statement that the dispatcher knows.

use arrow::datatypes::DataType;
use auric_catalog::table::TableFormat;
use auric_catalog::table::definition::{PartitionFieldDefinition, SortFieldDefinition};
use datafusion::sql::sqlparser::ast::{self, Ident, ObjectName};

use crate::error::Result;
use crate::pg_catalog::foreign_key::ReferentialAction;
use crate::session::cursor::CursorOptions;
use crate::types::text_type::TextType;

pub use super::delete::Delete;
pub use super::dml::{ConflictAction, Insert, InsertMode, OnConflict, Overriding, PartitionColumn, Truncate};
pub use super::materialized_view::{
    ActionClause, AlterMaterializedView, AlterViewAction, CreateMaterializedView, ExpectationClause,
    RefreshMaterializedView, Shown,
};
pub use super::merge::{Merge, MergeAction, MergeClause, MergeKind};
pub use super::row_target::{Assignment, Target};
pub use super::task::{AlterTask, AlterTaskAction, CreateTask, TriggerClause};
pub use super::update::Update;

/// One statement.
#[derive(Debug, Clone)]
pub enum Statement {
    /// SELECT, VALUES, WITH, TABLE.
    Query(Box<ast::Query>),
    Explain(Box<Explain>),
    CreateSchema {
        name: ObjectName,
        if_not_exists: bool,
    },
    DropSchema {
        names: Vec<ObjectName>,
        if_exists: bool,
        cascade: bool,
    },
    CreateTable(Box<CreateTable>),
    AlterTable(Box<AlterTable>),
    Comment(Box<CommentOn>),
    CreateIndex(Box<ast::CreateIndex>),
    /// None: all tables.
    Analyze(Vec<ObjectName>),
    DropTable {
        names: Vec<ObjectName>,
        if_exists: bool,
        cascade: bool,
    },
    CreateView(Box<CreateView>),
    DropView {
        names: Vec<ObjectName>,
        if_exists: bool,
        cascade: bool,
    },
    CreateMaterializedView(Box<CreateMaterializedView>),
    RefreshMaterializedView(Box<RefreshMaterializedView>),
    AlterMaterializedView(Box<AlterMaterializedView>),
    DropMaterializedView {
        names: Vec<ObjectName>,
        if_exists: bool,
        cascade: bool,
    },
    CreateTask(Box<CreateTask>),
    AlterTask(Box<AlterTask>),
    DropTask {
        names: Vec<ObjectName>,
        if_exists: bool,
        cascade: bool,
    },
    ExecuteTask {
        name: ObjectName,
        /// Also those that come after it.
        cascade: bool,
    },
    /// `SHOW CREATE …`.
    ShowCreate {
        kind: Shown,
        name: ObjectName,
    },
    /// `ALTER TABLE | VIEW … RENAME TO | SET SCHEMA`.
    Rename(Box<Rename>),
    Insert(Box<Insert>),
    Truncate(Truncate),
    Update(Box<Update>),
    Delete(Box<Delete>),
    Merge(Box<Merge>),
    Copy(Box<Copy>),
    Set(Set),
    SetTransaction {
        /// `SET SESSION CHARACTERISTICS`: of all transactions to come.
        session: bool,
        modes: TransactionModes,
    },
    Show(Show),
    /// `None`: ALL.
    Reset(Option<String>),
    Discard(Discard),
    Begin {
        /// `START TRANSACTION` has its own command tag.
        start: bool,
        modes: TransactionModes,
    },
    Commit(Chain),
    Rollback(Chain),
    Savepoint(String),
    Release(String),
    RollbackTo(String),
    Prepare {
        name: String,
        types: Vec<ast::DataType>,
        statement: Box<Statement>,
        /// Text of the inner statement.
        text: String,
    },
    Execute {
        name: String,
        parameters: Vec<ast::Expr>,
    },
    /// `None`: ALL.
    Deallocate(Option<String>),
    Declare(Box<Declare>),
    Fetch(Fetch),
    /// `None`: ALL.
    Close(Option<String>),
    /// LISTEN, UNLISTEN, …: accepted without effect, under this tag.
    Accepted(&'static str),
    /// Valid SQL that is not done here; the words name it.
    Unsupported(String),
}

impl Statement {
    /// Whether it looks at data, so that what the transaction is cannot be changed any more
    /// (`PlannedStmtRequiresSnapshot` in Postgres' sources).
    pub fn reads(&self) -> bool {
        !matches!(
            self,
            Self::Set(_)
                | Self::SetTransaction { .. }
                | Self::Show(_)
                | Self::Reset(_)
                | Self::Discard(_)
                | Self::Begin { .. }
                | Self::Commit(_)
                | Self::Rollback(_)
                | Self::Savepoint(_)
                | Self::Release(_)
                | Self::RollbackTo(_)
                | Self::Deallocate(_)
                | Self::Fetch(_)
                | Self::Close(_)
                | Self::Accepted(_)
                | Self::Unsupported(_)
        )
    }
}

/// `AND CHAIN`: whether another transaction begins at once, as the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chain {
    No,
    Yes,
}

#[derive(Debug, Clone)]
pub struct Explain {
    pub statement: Statement,
    pub analyze: bool,
    pub verbose: bool,
    /// What the statement would change; it is undone.
    pub impact: bool,
    pub costs: bool,
    /// `FORMAT JSON`.
    pub json: bool,
}

/// A reference to another table, which nothing enforces.
#[derive(Debug, Clone)]
pub struct ForeignKey {
    pub name: Option<String>,
    pub columns: Vec<String>,
    pub table: ObjectName,
    /// `None`: the key of the table.
    pub references: Option<Vec<String>>,
    pub on_update: ReferentialAction,
    pub on_delete: ReferentialAction,
    pub match_full: bool,
    /// `false`: `NOT ENFORCED` is said.
    pub enforced: bool,
}

/// A column as written.
#[derive(Debug, Clone)]
pub struct ColumnClause {
    pub name: String,
    /// `None` in the column list of `CREATE TABLE t (a, b) AS …`.
    /// The error is that of a type that does not exist.
    pub data_type: Option<Result<DataType>>,
    /// `varchar(n)`, `char(n)`, `json`, `jsonb`.
    pub text_type: Option<TextType>,
    pub not_null: bool,
    pub default: Option<ast::Expr>,
    pub identity: Option<IdentityClause>,
    pub comment: Option<String>,
}

/// `GENERATED {ALWAYS | BY DEFAULT} AS IDENTITY [(…)]`, or what `SERIAL` stands for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IdentityClause {
    pub always: bool,
    pub start: Option<i64>,
    pub increment: Option<i64>,
}

/// `[CONSTRAINT name] CHECK (condition)`.
#[derive(Debug, Clone)]
pub struct CheckClause {
    pub name: Option<Ident>,
    pub condition: ast::Expr,
}

/// `ADD COLUMN`.
#[derive(Debug, Clone)]
pub struct AddColumn {
    pub column: ColumnClause,
    pub if_not_exists: bool,
}

#[derive(Debug, Clone)]
pub struct AlterTable {
    pub name: ObjectName,
    pub if_exists: bool,
    pub action: AlterAction,
}

#[derive(Debug, Clone)]
pub enum AlterAction {
    AddColumns(Vec<AddColumn>),
    AddConstraint(Box<CheckClause>),
    AddForeignKey(ForeignKey),
    DropConstraint {
        name: String,
        if_exists: bool,
    },
    /// `SET TBLPROPERTIES`, or Postgres' `SET (…)`.
    SetProperties(Vec<(String, String)>),
    /// `UNSET TBLPROPERTIES`, or Postgres' `RESET (…)`.
    UnsetProperties(Vec<String>),
}

#[derive(Debug, Clone)]
pub struct CommentOn {
    pub object: Commented,
    /// `None`: NULL.
    pub text: Option<String>,
}

#[derive(Debug, Clone)]
pub enum Commented {
    Table(ObjectName),
    View(ObjectName),
    MaterializedView(ObjectName),
    Schema(ObjectName),
    Column { relation: ObjectName, column: String },
}

/// What becomes of a temporary table at the end of each transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnCommit {
    PreserveRows,
    DeleteRows,
    Drop,
}

#[derive(Debug, Clone)]
pub struct CreateTable {
    pub name: ObjectName,
    pub or_replace: bool,
    pub if_not_exists: bool,
    pub temporary: bool,
    /// What was said; there is none for other tables than temporary ones.
    pub on_commit: Option<OnCommit>,
    pub columns: Vec<ColumnClause>,
    pub key_columns: Vec<String>,
    pub foreign_keys: Vec<ForeignKey>,
    /// Those of columns and of the table, in the order of the text.
    pub checks: Vec<CheckClause>,
    pub format: Option<TableFormat>,
    pub partitioning: Vec<PartitionFieldDefinition>,
    pub sorting: Vec<SortFieldDefinition>,
    pub location: Option<String>,
    pub comment: Option<String>,
    pub properties: Vec<(String, String)>,
    pub query: Option<Box<ast::Query>>,
    /// `AS … WITH NO DATA`.
    pub with_no_data: bool,
}

#[derive(Debug, Clone)]
pub struct CreateView {
    pub name: ObjectName,
    pub or_replace: bool,
    pub if_not_exists: bool,
    /// Names of the first columns; empty: those of the query.
    pub columns: Vec<String>,
    pub comment: Option<String>,
    pub query: Box<ast::Query>,
    /// Text of the query.
    pub text: String,
}

#[derive(Debug, Clone)]
pub struct Rename {
    /// `ALTER VIEW`; a table is renamed by `ALTER TABLE` alone, a view by either.
    pub view: bool,
    pub name: ObjectName,
    pub to: RenameTo,
    pub if_exists: bool,
}

#[derive(Debug, Clone)]
pub enum RenameTo {
    /// Postgres takes a bare name; with a schema before it, the relation moves there too.
    Name(ObjectName),
    Schema(String),
}

#[derive(Debug, Clone)]
pub enum CopySource {
    Table { name: ObjectName, columns: Vec<Ident> },
    Query(Box<ast::Query>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyTarget {
    Stdin,
    Stdout,
    /// A file on the server or an object store.
    File(String),
    FromFile(String),
}

#[derive(Debug, Clone)]
pub struct Copy {
    pub source: CopySource,
    pub target: CopyTarget,
    pub options: CopyOptions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyFormat {
    Text,
    Csv,
    Binary,
    /// One object a line. Files only.
    Json,
    /// Files only.
    Parquet,
}

impl CopyFormat {
    /// Whether it comes as characters, to which the options of text apply.
    pub fn is_text(self) -> bool {
        matches!(self, Self::Text | Self::Csv)
    }
}

/// Columns that a `FORCE_…` option names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ColumnChoice {
    #[default]
    None,
    All,
    Columns(Vec<String>),
}

impl ColumnChoice {
    pub fn contains(&self, name: &str) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Columns(columns) => columns.iter().any(|column| column == name),
        }
    }
}

/// What a header line means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Header {
    #[default]
    None,
    /// Skipped on input, written on output.
    Present,
    /// Its names must be those of the columns.
    Match,
}

/// Options of COPY, defaults of the format filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyOptions {
    pub format: CopyFormat,
    pub delimiter: u8,
    pub null: String,
    pub default: Option<String>,
    pub header: Header,
    pub quote: u8,
    pub escape: u8,
    pub force_quote: ColumnChoice,
    pub force_not_null: ColumnChoice,
    pub force_null: ColumnChoice,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    pub name: String,
    /// `None`: DEFAULT.
    pub value: Option<String>,
    pub local: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Show {
    All,
    Variable(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discard {
    All,
    Plans,
    Sequences,
    Temp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TransactionModes {
    pub isolation: Option<&'static str>,
    pub read_only: Option<bool>,
    pub deferrable: Option<bool>,
}

#[derive(Debug, Clone)]
pub struct Declare {
    pub name: String,
    pub options: CursorOptions,
    pub query: Box<ast::Query>,
    /// Text of the query.
    pub text: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    pub cursor: String,
    pub movement: Movement,
    /// MOVE: the rows are not given.
    pub discard: bool,
}

/// Which rows FETCH gives. `None`: ALL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Movement {
    Forward(Option<i64>),
    Backward(Option<i64>),
    /// The row of that number from 1; negative: counted from the end.
    Absolute(i64),
    /// The row so many after this one.
    Relative(i64),
}
