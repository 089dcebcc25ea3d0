//! What lets one plan run many times: tables and values that are filled before each run.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::{Result, ScalarValue};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;

/// A table whose rows are set before each run of a plan.
#[derive(Clone, Debug)]
pub struct LiveTable {
    schema: SchemaRef,
    batches: Arc<Mutex<Vec<RecordBatch>>>,
}

impl LiveTable {
    /// A table of this shape, without rows yet.
    pub fn new(schema: SchemaRef) -> Self {
        LiveTable { schema, batches: Arc::default() }
    }

    /// The rows that the next run sees; they must have the table's shape.
    pub fn set(&self, batches: Vec<RecordBatch>) {
        *self.batches.lock().unwrap_or_else(PoisonError::into_inner) = batches;
    }

    /// The table as the engine takes it.
    ///
    /// # Errors
    /// Where the engine refuses.
    pub fn provider(&self) -> Result<Arc<dyn TableProvider>> {
        let partition: Arc<dyn PartitionStream> = Arc::new(self.clone());
        Ok(Arc::new(StreamingTable::try_new(self.schema.clone(), vec![partition])?))
    }
}

impl PartitionStream for LiveTable {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let batches = self.batches.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let stream = futures::stream::iter(batches.into_iter().map(Ok));
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), stream))
    }
}

/// A function without arguments that yields a value set before each run: a statement's parameter, or its
/// transaction's time.
#[derive(Clone)]
pub struct ValueCell {
    name: String,
    data_type: DataType,
    signature: Signature,
    value: Arc<Mutex<ScalarValue>>,
}

impl ValueCell {
    /// A function of this name and type; NULL until it is set.
    ///
    /// # Errors
    /// A type that has no NULL scalar.
    pub fn new(name: String, data_type: DataType) -> Result<Self> {
        let value = Arc::new(Mutex::new(ScalarValue::try_from(&data_type)?));
        // Volatile: or the planner would fold today's value into the plan.
        Ok(ValueCell { name, data_type, signature: Signature::exact(Vec::new(), Volatility::Volatile), value })
    }

    /// The value that the next run sees.
    pub fn set(&self, value: ScalarValue) {
        *self.value.lock().unwrap_or_else(PoisonError::into_inner) = value;
    }

    /// The function as the engine takes it.
    pub fn function(&self) -> ScalarUDF {
        ScalarUDF::from(self.clone())
    }
}

impl fmt::Debug for ValueCell {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.name, self.data_type)
    }
}

/// A cell's name is its own: see [`ValueCell::new`]'s callers.
impl PartialEq for ValueCell {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && Arc::ptr_eq(&self.value, &other.value)
    }
}

impl Eq for ValueCell {}

impl Hash for ValueCell {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for ValueCell {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(self.data_type.clone())
    }

    fn invoke_with_args(&self, _arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Scalar(self.value.lock().unwrap_or_else(PoisonError::into_inner).clone()))
    }
}
