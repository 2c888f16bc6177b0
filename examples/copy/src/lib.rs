//! Copies records as they are to the topic that the config key `output` names (`copy` by default): the least that a
//! processor can do, and what the benchmarks measure the flat world by.

use tidemill_guest::{Context, Error, Output, Processor, Record, config_or};

struct Copy {
    output: String,
}

impl Processor for Copy {
    fn init(_: &Context) -> Result<Copy, Error> {
        Ok(Copy { output: config_or("output", "copy".to_owned())? })
    }

    fn process(&mut self, record: Record<'_>, out: &mut Output) -> Result<(), Error> {
        out.forward(&self.output, &record);
        Ok(())
    }
}

tidemill_guest::processor!(Copy);

#[cfg(test)]
mod tests;
