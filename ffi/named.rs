//! Named values of a job, in the form in which C reads them: params and variants.

use isr_core::{Error, ParamValue, Params, Variant};

use crate::status::invalid;
use crate::types::isr_str;

/// Names with their values, sorted by name. The views point into the texts, which are never changed.
pub(crate) struct Named {
    what: &'static str,
    rows: Vec<Row>,
}

struct Row {
    name: String,
    /// One text, as opposed to a list of however many.
    single: bool,
    views: Vec<isr_str>,
    _texts: Vec<String>,
}

impl Row {
    fn new(name: &str, texts: &[String], single: bool) -> Row {
        let texts = texts.to_vec();
        let views = texts.iter().map(|text| isr_str::of(text)).collect();
        Row { name: name.to_string(), single, views, _texts: texts }
    }
}

impl Named {
    pub(crate) fn of_params(params: &Params) -> Named {
        let rows = params
            .iter()
            .map(|(name, value)| match value {
                ParamValue::One(text) => Row::new(name, std::slice::from_ref(text), true),
                ParamValue::Many(texts) => Row::new(name, texts, false),
            })
            .collect();
        Named { what: "param", rows }
    }

    pub(crate) fn of_variant(variant: &Variant) -> Named {
        let rows =
            variant.iter().map(|(name, texts)| Row::new(name, texts, texts.len() == 1)).collect();
        Named { what: "value of the variant", rows }
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn name_at(&self, index: usize) -> Result<isr_str, Error> {
        let row = crate::types::at(self.what, self.rows.iter(), index)?;
        Ok(isr_str::of(&row.name))
    }

    /// The one text of a name; `None` where the name is absent.
    pub(crate) fn one(&self, name: &str) -> Result<Option<isr_str>, Error> {
        match self.rows.iter().find(|row| row.name == name) {
            None => Ok(None),
            Some(row) if row.single => Ok(row.views.first().copied()),
            Some(row) => Err(invalid(format!(
                "the {} \"{name}\" is a list of {}; ask for its values",
                self.what,
                row.views.len()
            ))),
        }
    }

    /// All texts of a name; `None` where the name is absent.
    pub(crate) fn all(&self, name: &str) -> Option<(&[isr_str], bool)> {
        self.rows.iter().find(|row| row.name == name).map(|row| (row.views.as_slice(), row.single))
    }
}
