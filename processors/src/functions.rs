//! The functions rules may call, and the context that plans them.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::DataType;
use datafusion_common::config::ConfigOptions;
use datafusion_common::{Result, TableReference, plan_err};
use datafusion_expr::planner::{ContextProvider, ExprPlanner};
use datafusion_expr::{AggregateUDF, HigherOrderUDF, ScalarUDF, TableSource, Volatility, WindowUDF};
use datafusion_functions::core::planner::CoreFunctionPlanner;
use datafusion_functions::datetime::planner::DatetimeFunctionPlanner;

/// Functions that are immutable and still refused: `repeat` makes text as long as a device says, and
/// `version` differs between two builds.
const REFUSED: [&str; 2] = ["repeat", "version"];
/// Names people use that need more than one row. Only for a better error.
const OVER_ROWS: [&str; 26] = [
    "approx_distinct",
    "array_agg",
    "avg",
    "bool_and",
    "bool_or",
    "corr",
    "count",
    "dense_rank",
    "first_value",
    "lag",
    "last_value",
    "lead",
    "max",
    "mean",
    "median",
    "min",
    "ntile",
    "percentile_cont",
    "rank",
    "row_number",
    "stddev",
    "stddev_pop",
    "string_agg",
    "sum",
    "var_pop",
    "variance",
];

/// What a name stands for in a rule.
#[derive(Debug)]
pub(crate) enum Known {
    /// A function that depends on its arguments alone.
    Function,
    /// A function whose result a replay would not give again, or that is refused for safety.
    Refused,
    /// An aggregate or window function.
    OverRows,
    /// Nothing.
    Nothing,
}

/// All functions, by name and alias, in lower case.
#[derive(Debug)]
pub(crate) struct Functions {
    allowed: BTreeMap<String, Arc<ScalarUDF>>,
    refused: Vec<String>,
    planners: Vec<Arc<dyn ExprPlanner>>,
    options: ConfigOptions,
}

static FUNCTIONS: LazyLock<Functions> = LazyLock::new(Functions::collect);

/// The functions of every rule.
pub(crate) fn all() -> &'static Functions {
    &FUNCTIONS
}

impl Functions {
    fn collect() -> Self {
        let (mut allowed, mut refused) = (BTreeMap::new(), Vec::new());
        for function in datafusion_functions::all_default_functions() {
            let pure = function.signature().volatility == Volatility::Immutable && !REFUSED.contains(&function.name());
            let names = std::iter::once(function.name()).chain(function.aliases().iter().map(String::as_str));
            for name in names.map(str::to_lowercase) {
                if pure {
                    allowed.insert(name, function.clone());
                } else {
                    refused.push(name);
                }
            }
        }
        let planners: Vec<Arc<dyn ExprPlanner>> =
            vec![Arc::new(CoreFunctionPlanner::default()), Arc::new(DatetimeFunctionPlanner)];
        Self { allowed, refused, planners, options: ConfigOptions::default() }
    }

    /// What `name`, in lower case, stands for.
    pub(crate) fn know(&self, name: &str) -> Known {
        if self.allowed.contains_key(name) {
            Known::Function
        } else if self.refused.iter().any(|refused| refused == name) {
            Known::Refused
        } else if OVER_ROWS.contains(&name) {
            Known::OverRows
        } else {
            Known::Nothing
        }
    }

    /// Names of all functions a rule may call, sorted.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.allowed.keys().map(String::as_str)
    }
}

impl ContextProvider for Functions {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        plan_err!("rules see one reading at a time, there is no table {name}")
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.planners
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.allowed.get(name).cloned()
    }

    fn get_higher_order_meta(&self, _name: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, _name: &str) -> Option<Arc<AggregateUDF>> {
        None
    }

    fn get_window_meta(&self, _name: &str) -> Option<Arc<WindowUDF>> {
        None
    }

    fn get_variable_type(&self, _variable_names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.options
    }

    fn udf_names(&self) -> Vec<String> {
        self.names().map(str::to_owned).collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udwf_names(&self) -> Vec<String> {
        Vec::new()
    }
}
