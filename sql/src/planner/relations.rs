//! Names of relations to table providers, before planning: `catalog.schema.table`, `schema.table`,
//! then the search path, with `pg_catalog` and the session's temporary tables implicitly first.

use std::collections::HashMap;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use auric_catalog::TableIdent;
use auric_catalog::format::VersionSpec;
use auric_catalog::metadata_table::MetadataTable;
use auric_catalog::registry::{Catalog, Table};
use auric_catalog::scan::LakeTable;
use auric_catalog::table::{CommitWatch, TableVersion};
use auric_catalog::view::View;
use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::TableSource;
use datafusion::sql::planner::object_name_to_table_reference;
use datafusion::sql::sqlparser::ast::{
    ObjectName, Query, Spanned, TableFactor, TableVersion as AsOf, Visitor,
};

use super::sample::{self, Sampled};
use super::{Scope, system, time_travel, view};
use crate::error::{Error, Result, SqlState};
use crate::materialize::definition::{is_materialized_view, is_populated};
use crate::parser::Parsed;
use crate::parser::walk::Walk;
use crate::table_function::{self, FilesRead};

/// A version of a table that a plan reads.
#[derive(Debug, Clone, PartialEq)]
pub struct Dependency {
    pub catalog: String,
    pub ident: TableIdent,
    /// Where the name would be looked up first, in case a table appears there.
    pub name: TableReference,
    pub read: Read,
    /// What tells that there is no newer version, where entries of catalogs do not.
    pub watch: Option<CommitWatch>,
}

/// Everything that a plan reads and that can change.
#[derive(Debug, Clone, Default)]
pub struct Dependencies {
    pub relations: Vec<Dependency>,
    /// Those of `read_csv` and its like.
    pub files: Vec<Arc<FilesRead>>,
}

/// What a plan reads of a table.
#[derive(Debug, Clone, PartialEq)]
pub enum Read {
    /// The current version, which was this one, of the table with this id: one that takes its place begins
    /// to count anew.
    Current(TableVersion, String),
    /// A version that never changes, of the table with this id.
    Pinned(String),
    /// A view, defined in this metadata file.
    View(String),
}

/// What a name means.
pub enum Found {
    Table(Table),
    View(View),
}

type Lookup = std::result::Result<Arc<dyn TableSource>, Error>;

/// Everything that the FROM clauses of a query name.
#[derive(Default)]
pub struct Relations {
    tables: HashMap<TableReference, Lookup>,
    pub(super) special: SpecialRelations,
    dependencies: Dependencies,
    /// The plan holds more than versions of tables.
    volatile: bool,
}

/// Relations that it takes more than a name to tell.
#[derive(Clone, Default)]
pub(super) struct SpecialRelations {
    /// Calls of `read_csv` and its like, whose files were looked at, by [`function_key`].
    functions: HashMap<String, Arc<dyn TableProvider>>,
    /// Tables at earlier versions, by [`version_key`].
    versions: HashMap<String, Lookup>,
    /// Tables of which a part of the rows is taken, by [`sample::key`].
    samples: HashMap<String, Result<Sampled>>,
}

impl fmt::Debug for SpecialRelations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.functions.keys()).entries(self.versions.keys()).finish()
    }
}

impl SpecialRelations {
    pub fn function(&self, factor: &TableFactor) -> Option<Arc<dyn TableProvider>> {
        self.functions.get(&function_key(factor)).cloned()
    }

    /// The table of a factor with a version.
    pub fn version(&self, factor: &TableFactor) -> Option<Lookup> {
        self.versions.get(&version_key(factor)?).cloned()
    }

    pub fn sample(&self, factor: &TableFactor) -> Option<Result<Sampled>> {
        self.samples.get(&sample::key(factor)?).cloned()
    }
}

impl Relations {
    /// Looks up all names. A name that is not found is an error only if the planner asks for it:
    /// it may be that of a common table expression. `named`: relations that are there already.
    pub async fn resolve(
        scope: &Scope,
        query: &Query,
        source: &Parsed,
        named: Vec<(TableReference, Arc<dyn TableSource>)>,
    ) -> Result<Self> {
        let mut collected = Collector::default();
        let _ = query.walk(&mut collected);
        let mut relations = Self { volatile: !named.is_empty(), ..Self::default() };
        relations.tables.extend(named.into_iter().map(|(name, source)| (name, Ok(source))));
        for name in collected.names {
            let reference = reference(&name)?;
            if relations.tables.contains_key(&reference) {
                continue;
            }
            let found = relations.lookup(scope, &name, &reference, source).await;
            relations.tables.insert(reference, found);
        }
        for factor in collected.versions {
            if let TableFactor::Table { name, version: Some(version), .. } = &factor
                && let Some(key) = version_key(&factor)
                && !relations.special.versions.contains_key(&key)
            {
                let found = relations.lookup_version(scope, name, version, source).await;
                relations.special.versions.insert(key, found);
            }
        }
        for factor in collected.samples {
            let Some(clause) = sample::clause(&factor)? else { continue };
            if let TableFactor::Table { name, version, .. } = &factor
                && let Some(key) = sample::key(&factor)
                && !relations.special.samples.contains_key(&key)
            {
                let sampled = match collected.common.contains(&name.to_string()) {
                    true => Err(sample::no_table()),
                    false => relations.lookup_sample(scope, name, version.as_ref(), &clause, source).await,
                };
                relations.special.samples.insert(key, sampled);
            }
        }
        for factor in collected.functions {
            if let TableFactor::Table { name, args: Some(args), .. } = &factor {
                let key = function_key(&factor);
                if let Some(opened) = table_function::resolve(scope, name, args).await? {
                    relations.special.functions.insert(key, opened.provider);
                    relations.volatile |= opened.read.state.is_none() || !opened.read.is_fixed;
                    relations.dependencies.files.push(opened.read);
                }
            }
        }
        Ok(relations)
    }

    async fn lookup(
        &mut self,
        scope: &Scope,
        name: &ObjectName,
        key: &TableReference,
        source: &Parsed,
    ) -> Lookup {
        if let Some(provider) = system::relation(scope, key).await? {
            self.volatile = true;
            return Ok(provider_as_source(provider));
        }
        let table = match find_relation(scope, key).await? {
            Some(Found::Table(table)) => table,
            Some(Found::View(found)) => return self.expand(scope, key, &found).await,
            None => {
                if let Some((relation, table)) = find_metadata(scope, key).await? {
                    self.volatile = true;
                    return Ok(provider_as_source(relation.provider(&table)));
                }
                return Err(undefined(name, source));
            }
        };
        if !scope.reads_unpopulated && !is_populated(&table.snapshot.properties) {
            return Err(unpopulated(&table));
        }
        self.dependencies.relations.push(Dependency {
            catalog: table.catalog.name().to_string(),
            ident: table.ident.clone(),
            name: key.clone(),
            read: Read::Current(table.snapshot.version.clone(), table.snapshot.table_id.clone()),
            watch: table.snapshot.commit_watch(),
        });
        // What the transaction has changed has no version to tell it by.
        self.volatile |= table.snapshot.version == TableVersion::Unpublished;
        Ok(provider_as_source(table.provider()))
    }

    /// A view, with what it reads among the dependencies.
    async fn expand(&mut self, scope: &Scope, key: &TableReference, found: &View) -> Lookup {
        let view::Expanded { source, dependencies } = view::expand(scope, found).await?;
        match dependencies {
            None => self.volatile = true,
            Some(of_view) => {
                self.dependencies.relations.push(Dependency {
                    catalog: found.catalog.name().to_string(),
                    ident: found.ident().clone(),
                    name: key.clone(),
                    read: Read::View(found.entry.pointer.clone()),
                    watch: None,
                });
                self.dependencies.relations.extend(of_view.relations);
                self.dependencies.files.extend(of_view.files);
            }
        }
        Ok(source)
    }

    async fn lookup_version(
        &mut self,
        scope: &Scope,
        name: &ObjectName,
        version: &AsOf,
        source: &Parsed,
    ) -> Lookup {
        let key = reference(name)?;
        let spec = time_travel::version(scope, version)?;
        if system::relation(scope, &key).await?.is_some() {
            let message = format!("\"{key}\" is a system relation and has no versions");
            return Err(Error::new(SqlState::WRONG_OBJECT_TYPE, message));
        }
        let (current, about) = match find(scope, &key).await? {
            Some(table) => (table, None),
            None => match find_metadata(scope, &key).await? {
                Some((relation, table)) => (table, Some(relation)),
                None => return Err(undefined(name, source)),
            },
        };
        let Some(table) = current.catalog.table_at(&current.ident, &spec).await? else {
            return Err(undefined(name, source));
        };
        if let Some(relation) = about {
            self.volatile = true;
            return Ok(provider_as_source(relation.provider(&table)));
        }
        match spec {
            VersionSpec::Id(_) => self.dependencies.relations.push(Dependency {
                catalog: table.catalog.name().to_string(),
                ident: table.ident.clone(),
                name: key,
                read: Read::Pinned(table.snapshot.table_id.clone()),
                watch: None,
            }),
            // What they name changes with commits to come.
            VersionSpec::Ref(_) | VersionSpec::Timestamp(_) => self.volatile = true,
        }
        Ok(provider_as_source(table.provider()))
    }

    async fn lookup_sample(
        &mut self,
        scope: &Scope,
        name: &ObjectName,
        version: Option<&AsOf>,
        clause: &sample::Clause<'_>,
        source: &Parsed,
    ) -> Result<Sampled> {
        clause.check(scope)?;
        let (key, label) = (name.to_string(), reference(name)?);
        let lookup = match version {
            Some(version) => self.lookup_version(scope, name, version, source).await,
            None => self.lookup(scope, name, &label, source).await,
        };
        let lookup = lookup?;
        // Views are plans; what else is no table of a lake is a system relation.
        let Ok(provider) = source_as_provider(&lookup) else { return Err(sample::no_table()) };
        let table = provider.downcast_ref::<LakeTable>().map(LakeTable::table);
        if table.is_none() && system::relation(scope, &label).await?.is_none() {
            return Err(sample::no_table());
        }
        match table.filter(|_| clause.is_repeatable()) {
            Some(table) => {
                self.volatile = true;
                Ok(Sampled::same_rows(key, label, table))
            }
            None if clause.is_repeatable() => Err(sample::no_repeatable()),
            None => Ok(Sampled::any_rows(key, label, lookup)),
        }
    }

    pub fn table(&self, name: &TableReference) -> Lookup {
        match self.tables.get(name) {
            Some(found) => found.clone(),
            None => Err(Error::new(SqlState::UNDEFINED_TABLE, format!("relation \"{name}\" does not exist"))),
        }
    }

    /// Whether this table is among them, at its current version.
    pub fn reads(&self, table: &Table) -> bool {
        let is_table = |dependency: &Dependency| {
            dependency.catalog == table.catalog.name()
                && dependency.ident == table.ident
                && matches!(dependency.read, Read::Current(..))
        };
        self.dependencies.relations.iter().any(is_table)
    }

    /// Versions read; `None` if equal versions do not make an equal plan.
    pub fn dependencies(&self) -> Option<Dependencies> {
        (!self.volatile).then(|| self.dependencies.clone())
    }

    /// The state to plan with: with the catalog's contents where functions may ask for them.
    pub async fn state(&self, scope: &Scope) -> Result<Arc<SessionState>> {
        Ok(scope.state.clone())
    }
}

/// Whether the tables of a plan are still at the versions that it was made for.
pub async fn still_current(scope: &Scope, dependencies: &Dependencies) -> Result<bool> {
    for files in &dependencies.files {
        if !files.is_unchanged(&scope.state, &scope.engine.results, scope.info.statement_start).await {
            return Ok(false);
        }
    }
    for dependency in &dependencies.relations {
        let is_same = |catalog: &Catalog, ident: &TableIdent| {
            catalog.name() == dependency.catalog && *ident == dependency.ident
        };
        let unchanged = match find_relation(scope, &dependency.name).await? {
            None => false,
            Some(Found::Table(table)) => {
                is_same(&table.catalog, &table.ident)
                    && match &dependency.read {
                        Read::Current(version, table_id) => {
                            table.snapshot.version == *version && table.snapshot.table_id == *table_id
                        }
                        Read::Pinned(table_id) => table.snapshot.table_id == *table_id,
                        Read::View(_) => false,
                    }
            }
            Some(Found::View(view)) => {
                is_same(&view.catalog, view.ident())
                    && dependency.read == Read::View(view.entry.pointer.clone())
            }
        };
        if !unchanged {
            return Ok(false);
        }
    }
    Ok(true)
}

/// `name(args)` without alias.
pub(super) fn function_key(factor: &TableFactor) -> String {
    match factor {
        TableFactor::Table { name, args: Some(args), .. } => {
            let args: Vec<String> = args.args.iter().map(ToString::to_string).collect();
            format!("{name}({})", args.join(", "))
        }
        _ => String::new(),
    }
}

/// A relation and its version as written, without alias. `None`: it has no version.
pub(super) fn version_key(factor: &TableFactor) -> Option<String> {
    match factor {
        TableFactor::Table { name, version: Some(version), .. } => Some(format!("{name} {version}")),
        _ => None,
    }
}

#[derive(Default)]
struct Collector {
    names: Vec<ObjectName>,
    /// Names of common table expressions.
    common: Vec<String>,
    samples: Vec<TableFactor>,
    versions: Vec<TableFactor>,
    functions: Vec<TableFactor>,
}

impl Visitor for Collector {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let common = query.with.iter().flat_map(|with| &with.cte_tables);
        self.common.extend(common.map(|table| table.alias.name.to_string()));
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::Table { sample: Some(_), .. } => self.samples.push(factor.clone()),
            TableFactor::Table { version: Some(_), .. } => self.versions.push(factor.clone()),
            TableFactor::Table { name, args: None, .. } => self.names.push(name.clone()),
            TableFactor::Table { args: Some(_), .. } => self.functions.push(factor.clone()),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

pub(crate) fn reference(name: &ObjectName) -> Result<TableReference> {
    if name.0.len() > 3 || name.0.is_empty() {
        let message = format!("improper qualified name (too many dotted names): {name}");
        return Err(Error::new(SqlState::SYNTAX_ERROR, message));
    }
    object_name_to_table_reference(name.clone(), true).map_err(|e| Error::from(&e))
}

/// 42P01 for a name, where it stands.
pub fn undefined(name: &ObjectName, source: &Parsed) -> Error {
    let shown = reference(name).map_or_else(|_| name.to_string(), |reference| reference.to_string());
    let error = Error::new(SqlState::UNDEFINED_TABLE, format!("relation \"{shown}\" does not exist"));
    let start = name.span().start;
    if start.line == 0 { error } else { error.with_position(source.position(start.line, start.column)) }
}

/// The error for a statement that needs a table.
pub(super) fn not_a_table(view: &View) -> Error {
    let message = format!("\"{}\" is a view, not a table", view.ident().name);
    Error::new(SqlState::WRONG_OBJECT_TYPE, message)
}

/// The error for reading a materialized view that was never refreshed.
fn unpopulated(table: &Table) -> Error {
    let message = format!("materialized view \"{}\" has not been populated", table.ident.name);
    Error::new(SqlState::NOT_IN_PREREQUISITE_STATE, message)
        .with_hint("Use the REFRESH MATERIALIZED VIEW command.")
}

/// Fails with 42809 for a table whose rows a materialized view's query decides.
pub(super) fn refuse_materialized_view(table: &Table) -> Result<()> {
    if !is_materialized_view(&table.snapshot.properties) {
        return Ok(());
    }
    let message = format!("cannot change materialized view \"{}\"", table.ident.name);
    Err(Error::new(SqlState::WRONG_OBJECT_TYPE, message)
        .with_detail("Its rows are those of its query.")
        .with_hint("Use REFRESH, ALTER or CREATE OR REPLACE MATERIALIZED VIEW."))
}

/// The table of a name. `None`: there is none; a view is none.
async fn find(scope: &Scope, name: &TableReference) -> Result<Option<Table>> {
    match find_relation(scope, name).await? {
        Some(Found::Table(table)) => Ok(Some(table)),
        _ => Ok(None),
    }
}

/// The table or view of a name.
pub(super) async fn find_relation(scope: &Scope, name: &TableReference) -> Result<Option<Found>> {
    if let Some((catalog, ident)) = temporary(scope, name) {
        let found = lookup(scope, catalog, &ident.namespace, &ident.name).await?;
        if found.is_some() || name.schema().is_some() {
            return Ok(found);
        }
    }
    match name {
        TableReference::Full { catalog, schema, table } => {
            lookup(scope, &scope.catalog(catalog)?, schema, table).await
        }
        TableReference::Partial { schema, table } => lookup(scope, &scope.database()?, schema, table).await,
        TableReference::Bare { table } => {
            let catalog = scope.database()?;
            for schema in &scope.info.search_path {
                if let Some(found) = lookup(scope, &catalog, schema, table).await? {
                    return Ok(Some(found));
                }
            }
            Ok(None)
        }
    }
}

/// The table that a name like `t$files` is about.
pub async fn find_metadata(scope: &Scope, name: &TableReference) -> Result<Option<(MetadataTable, Table)>> {
    let Some((table, relation)) = name.table().rsplit_once('$') else { return Ok(None) };
    let Some(relation) = MetadataTable::of_name(relation) else { return Ok(None) };
    let table = match name {
        TableReference::Bare { .. } => TableReference::bare(table),
        TableReference::Partial { schema, .. } => TableReference::partial(schema.clone(), table),
        TableReference::Full { catalog, schema, .. } => {
            TableReference::full(catalog.clone(), schema.clone(), table)
        }
    };
    Ok(find(scope, &table).await?.map(|table| (relation, table)))
}

async fn lookup(scope: &Scope, catalog: &Arc<Catalog>, schema: &str, name: &str) -> Result<Option<Found>> {
    let ident = TableIdent::new(schema, name);
    if let Some(table) = scope.tables.get(catalog, &ident).await? {
        return Ok(Some(Found::Table(table)));
    }
    Ok(catalog.view(&ident).await?.map(Found::View))
}

/// Where a temporary table of that name is, if there are any and it can be the name of one: they hide
/// others, and are in the schema `pg_temp`.
fn temporary<'a>(scope: &'a Scope, name: &TableReference) -> Option<(&'a Arc<Catalog>, TableIdent)> {
    let temporary = scope.info.temporary.as_ref()?;
    let in_database = name.catalog().is_none_or(|catalog| catalog == scope.info.database);
    let in_schema = name.schema().is_none_or(|schema| temporary.is_own_schema(schema));
    let catalog = temporary.opened().filter(|_| in_database && in_schema)?;
    Some((catalog, TableIdent::new(temporary.schema(), name.table())))
}

/// Where a new temporary table of that name goes.
pub fn new_temporary_table(scope: &Scope, name: &ObjectName) -> Result<(Arc<Catalog>, TableIdent)> {
    let name = reference(name)?;
    let Some(temporary) = &scope.info.temporary else {
        return Err(Error::new(SqlState::INTERNAL_ERROR, "there is no place for temporary tables"));
    };
    let in_database = name.catalog().is_none_or(|catalog| catalog == scope.info.database);
    if !in_database || !name.schema().is_none_or(|schema| temporary.is_own_schema(schema)) {
        let message = "cannot create temporary relation in non-temporary schema";
        return Err(Error::new(SqlState::INVALID_TABLE_DEFINITION, message));
    }
    Ok((temporary.open().clone(), TableIdent::new(temporary.schema(), name.table())))
}

/// Where a new table of that name goes: the first schema of the search path, if it names none.
pub fn new_table(scope: &Scope, name: &ObjectName) -> Result<(Arc<Catalog>, TableIdent)> {
    let name = reference(name)?;
    if let Some(temporary) = &scope.info.temporary
        && name.catalog().is_none_or(|catalog| catalog == scope.info.database)
        && name.schema().is_some_and(|schema| temporary.is_own_schema(schema))
    {
        return Ok((temporary.open().clone(), TableIdent::new(temporary.schema(), name.table())));
    }
    let (catalog, ident) = match name {
        TableReference::Full { catalog, schema, table } => {
            (scope.catalog(&catalog)?, TableIdent::new(schema.as_ref(), table.as_ref()))
        }
        TableReference::Partial { schema, table } => {
            (scope.database()?, TableIdent::new(schema.as_ref(), table.as_ref()))
        }
        TableReference::Bare { table } => {
            let Some(schema) = scope.info.search_path.first() else {
                return Err(Error::new(
                    SqlState::INVALID_SCHEMA_NAME,
                    "no schema has been selected to create in",
                ));
            };
            (scope.database()?, TableIdent::new(schema.as_str(), table.as_ref()))
        }
    };
    if matches!(ident.namespace.as_str(), "pg_catalog" | "information_schema") {
        let message = format!("permission denied to create \"{ident}\"");
        return Err(Error::new(SqlState::INSUFFICIENT_PRIVILEGE, message)
            .with_detail("System catalog modifications are currently disallowed."));
    }
    Ok((catalog, ident))
}
