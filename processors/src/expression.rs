//! The text of a rule to a compiled predicate over batches of readings, or of messages.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use datafusion_common::cast::as_boolean_array;
use datafusion_common::{DFSchemaRef, DataFusionError, ScalarValue, Span as PlannedSpan, ToDFSchema};
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::simplify::SimplifyContext;
use datafusion_expr::{ColumnarValue, Expr, ExprSchemable};
use datafusion_optimizer::simplify_expressions::ExprSimplifier;
use datafusion_physical_expr::expressions::Column;
use datafusion_physical_expr::utils::{collect_columns, reassign_expr_columns};
use datafusion_physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion_sql::planner::{ParserOptions, PlannerContext, SqlToRel};
use datafusion_sql::sqlparser::ast::Expr as SqlExpr;
use datafusion_sql::sqlparser::dialect::GenericDialect;
use datafusion_sql::sqlparser::parser::{Parser, ParserError};
use datafusion_sql::sqlparser::tokenizer::{Location, Span, Token};
use telemetry::schema;

use crate::evaluation::count;
use crate::functions;
use crate::guard;
use crate::limits;
use crate::names::{self, Fault, MESSAGE_COLUMNS};

/// A SQL boolean expression, compiled for batches of the columns that it names.
#[derive(Clone, Debug)]
pub(crate) struct Predicate {
    expression: Arc<dyn PhysicalExpr>,
    /// Positions of its columns among those that it was compiled with.
    inputs: Vec<usize>,
    schema: SchemaRef,
}

/// What one reading must be like.
#[derive(Clone, Debug)]
pub(crate) struct OfReading {
    /// `metric = '...'` in front of the expression: only readings of this metric are looked at.
    pub(crate) metric: Option<String>,
    /// The expression, without that; `None` if nothing is left.
    pub(crate) rest: Option<Predicate>,
}

/// What one message must be like.
#[derive(Clone, Debug)]
pub(crate) struct OfMessage {
    /// The metrics that the expression names, in order of name.
    pub(crate) metrics: Vec<String>,
    /// Over [`names::MESSAGE_COLUMNS`], then the metrics as numbers.
    pub(crate) predicate: Predicate,
}

static READINGS: LazyLock<SchemaRef> = LazyLock::new(schema::readings);

impl OfReading {
    /// Compiles `text`. Under 1 ms.
    pub(crate) fn compile(text: &str) -> Result<Self, Fault> {
        let columns: Vec<&str> = READINGS.fields().iter().map(|field| field.name().as_str()).collect();
        let syntax = parse(text)?;
        names::check_reading(&syntax, &columns)?;
        let whole = Predicate::plan(syntax.clone(), &READINGS)?;
        // What is left of a valid expression can have a type that only AND makes a boolean of: then it stays whole.
        let split = guard::split(&syntax).and_then(|(metric, rest)| {
            let rest = rest.map(|rest| Predicate::plan(rest, &READINGS)).transpose().ok()?;
            Some(Self { metric: Some(metric), rest })
        });
        Ok(split.unwrap_or(Self { metric: None, rest: Some(whole) }))
    }
}

impl OfMessage {
    /// Compiles `text` likewise.
    pub(crate) fn compile(text: &str) -> Result<Self, Fault> {
        let field = |column: usize| READINGS.fields().get(column).cloned();
        let mut fields: Vec<FieldRef> = MESSAGE_COLUMNS.iter().filter_map(|column| field(*column)).collect();
        let columns: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
        let syntax = parse(text)?;
        let metrics = names::check_message(&syntax, &columns)?;
        fields.extend(metrics.iter().map(|metric| Arc::new(Field::new(metric, DataType::Float64, true))));
        let predicate = Predicate::plan(syntax, &Arc::new(Schema::new(fields)))?;
        Ok(Self { metrics, predicate })
    }
}

impl Predicate {
    fn plan(syntax: SqlExpr, columns: &SchemaRef) -> Result<Self, Fault> {
        let expression = plan(syntax, columns)?;
        let mut inputs: Vec<usize> = collect_columns(&expression).iter().map(Column::index).collect();
        inputs.sort_unstable();
        let no_plan = |error: DataFusionError| plan_fault(&error);
        let schema = Arc::new(columns.project(&inputs).map_err(|error| no_plan(error.into()))?);
        let expression = reassign_expr_columns(expression, &schema).map_err(no_plan)?;
        Ok(Self { expression, inputs, schema })
    }

    /// The batch to evaluate on, of `rows` rows, its columns by their positions.
    pub(crate) fn batch(
        &self,
        rows: usize,
        column: impl FnMut(usize) -> Result<ArrayRef, ArrowError>,
    ) -> Result<RecordBatch, ArrowError> {
        let columns = self.inputs.iter().copied().map(column).collect::<Result<_, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
    }

    /// The rows of `batch` for which the expression is true; NULL is not.
    ///
    /// # Errors
    /// If the expression fails on any row: a division by zero, a text that is no number.
    pub(crate) fn rows(&self, batch: &RecordBatch) -> Result<BooleanBuffer, DataFusionError> {
        match self.expression.evaluate(batch)? {
            ColumnarValue::Array(array) => Ok(truths(as_boolean_array(&array)?)),
            ColumnarValue::Scalar(ScalarValue::Boolean(Some(true))) => Ok(BooleanBuffer::new_set(batch.num_rows())),
            ColumnarValue::Scalar(_) => Ok(BooleanBuffer::new_unset(batch.num_rows())),
        }
    }
}

fn truths(array: &BooleanArray) -> BooleanBuffer {
    match array.nulls() {
        Some(nulls) => array.values() & nulls.inner(),
        None => array.values().clone(),
    }
}

fn parse(text: &str) -> Result<SqlExpr, Fault> {
    if text.len() > limits::EXPRESSION_BYTES {
        let problem = format!("expression has {} bytes, the limit is {}", text.len(), limits::EXPRESSION_BYTES);
        return Err(Fault::new(problem, None));
    }
    let mut parser = Parser::new(&GenericDialect)
        .with_recursion_limit(limits::PARSER_DEPTH)
        .try_with_sql(text)
        .map_err(|error| syntax_fault(text, error))?;
    let expression = parser.parse_expr().map_err(|error| syntax_fault(text, error))?;
    let after = parser.peek_token();
    match after.token {
        Token::EOF => Ok(expression),
        token => Err(Fault::new(format!("`{token}` after the end of the expression"), after.span)),
    }
}

/// The parser gives positions only as the last words of its message, and none at the end of the text.
fn syntax_fault(text: &str, error: ParserError) -> Fault {
    let message = match error {
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => message,
        ParserError::RecursionLimitExceeded => return Fault::new(names::too_deep(limits::PARSER_DEPTH), None),
    };
    let located = message.rsplit_once(" at Line: ").and_then(|(problem, place)| {
        let (line, column) = place.split_once(", Column: ")?;
        let start = Location { line: line.parse().ok()?, column: column.parse().ok()? };
        Some((problem.to_owned(), start))
    });
    match located {
        Some((problem, start)) => {
            let end = Location { line: start.line, column: start.column + 1 };
            Fault::new(format!("syntax error: {problem}"), Span { start, end })
        }
        None => Fault::new(format!("syntax error: {message}"), end_of(text)),
    }
}

fn end_of(text: &str) -> Span {
    let line = text.rsplit('\n').next().unwrap_or_default();
    let (lines, columns) = (text.matches('\n').count(), line.chars().count());
    let end = Location { line: count(lines) + 1, column: count(columns) + 1 };
    Span { start: end, end }
}

fn plan(syntax: SqlExpr, columns: &SchemaRef) -> Result<Arc<dyn PhysicalExpr>, Fault> {
    let columns = columns.clone().to_dfschema_ref().map_err(|error| plan_fault(&error))?;
    let options = ParserOptions { collect_spans: true, ..ParserOptions::default() };
    let expression = SqlToRel::new_with_options(functions::all(), options)
        .sql_to_expr(syntax, &columns, &mut PlannerContext::new())
        .map_err(|error| plan_fault(&error))?;
    // No current time in the context: nothing may depend on it.
    let simplifier = ExprSimplifier::new(SimplifyContext::builder().with_schema(columns.clone()).build());
    let expression = simplifier.coerce(expression, &columns).map_err(|error| plan_fault(&error))?;
    refuse_unless_boolean(&expression, &columns)?;
    let expression = simplifier.simplify(expression).map_err(|error| plan_fault(&error))?;
    create_physical_expr(&expression, &columns, &ExecutionProps::new(), &PhysicalPlanningContext::default())
        .map_err(|error| plan_fault(&error))
}

fn refuse_unless_boolean(expression: &Expr, columns: &DFSchemaRef) -> Result<(), Fault> {
    match expression.get_type(columns).map_err(|error| plan_fault(&error))? {
        DataType::Boolean => Ok(()),
        other => Err(Fault::new(format!("expression has type {other}, a rule needs a Boolean"), None)),
    }
}

fn plan_fault(error: &DataFusionError) -> Fault {
    let at = error.diagnostic().and_then(|diagnostic| diagnostic.span).map(|span: PlannedSpan| Span {
        start: Location { line: span.start.line, column: span.start.column },
        end: Location { line: span.end.line, column: span.end.column },
    });
    let message = error.find_root().message().into_owned();
    let lines: Vec<&str> = message.lines().map(str::trim).collect();
    Fault::new(lines.join(" "), at)
}
