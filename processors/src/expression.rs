//! The text of a rule to a compiled predicate over batches of readings.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::DataType;
use datafusion_common::cast::as_boolean_array;
use datafusion_common::{DFSchemaRef, DataFusionError, ScalarValue, Span as PlannedSpan, ToDFSchema};
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::simplify::SimplifyContext;
use datafusion_expr::{ColumnarValue, Expr, ExprSchemable};
use datafusion_optimizer::simplify_expressions::ExprSimplifier;
use datafusion_physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion_sql::planner::{ParserOptions, PlannerContext, SqlToRel};
use datafusion_sql::sqlparser::ast::Expr as SqlExpr;
use datafusion_sql::sqlparser::dialect::GenericDialect;
use datafusion_sql::sqlparser::parser::{Parser, ParserError};
use datafusion_sql::sqlparser::tokenizer::{Location, Span, Token};
use telemetry::schema;

use crate::evaluation::count;
use crate::functions;
use crate::limits;
use crate::names::{self, Fault};

/// A SQL boolean expression, compiled for batches that begin with the columns of the table of readings.
#[derive(Clone, Debug)]
pub(crate) struct Predicate(Arc<dyn PhysicalExpr>);

static READINGS: LazyLock<Option<DFSchemaRef>> = LazyLock::new(|| schema::readings().to_dfschema_ref().ok());

impl Predicate {
    /// Compiles `text`. Under 1 ms.
    pub(crate) fn compile(text: &str) -> Result<Self, Fault> {
        if text.len() > limits::EXPRESSION_BYTES {
            let problem = format!("expression has {} bytes, the limit is {}", text.len(), limits::EXPRESSION_BYTES);
            return Err(Fault::new(problem, None));
        }
        let readings = schema::readings();
        let columns: Vec<&str> = readings.fields().iter().map(|field| field.name().as_str()).collect();
        let syntax = parse(text)?;
        names::check(&syntax, &columns)?;
        plan(syntax).map(Self)
    }

    /// The rows of `batch` for which the expression is true; NULL is not.
    ///
    /// # Errors
    /// If the expression fails on any row: a division by zero, a text that is no number.
    pub(crate) fn rows(&self, batch: &RecordBatch) -> Result<BooleanBuffer, DataFusionError> {
        match self.0.evaluate(batch)? {
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

fn plan(syntax: SqlExpr) -> Result<Arc<dyn PhysicalExpr>, Fault> {
    let readings = READINGS.clone().ok_or_else(|| Fault::new("the schema of readings cannot be planned on", None))?;
    let options = ParserOptions { collect_spans: true, ..ParserOptions::default() };
    let expression = SqlToRel::new_with_options(functions::all(), options)
        .sql_to_expr(syntax, &readings, &mut PlannerContext::new())
        .map_err(|error| plan_fault(&error))?;
    // No current time in the context: nothing may depend on it.
    let simplifier = ExprSimplifier::new(SimplifyContext::builder().with_schema(readings.clone()).build());
    let expression = simplifier.coerce(expression, &readings).map_err(|error| plan_fault(&error))?;
    refuse_unless_boolean(&expression, &readings)?;
    let expression = simplifier.simplify(expression).map_err(|error| plan_fault(&error))?;
    create_physical_expr(&expression, &readings, &ExecutionProps::new(), &PhysicalPlanningContext::default())
        .map_err(|error| plan_fault(&error))
}

fn refuse_unless_boolean(expression: &Expr, readings: &DFSchemaRef) -> Result<(), Fault> {
    match expression.get_type(readings).map_err(|error| plan_fault(&error))? {
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
