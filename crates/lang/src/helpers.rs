//! The helpers that templates may use, as handlebars wants them. What each of them computes is in `functions.rs`.

use crate::{
    compare::{text_of, truthy},
    functions::{FUNCTIONS, Function},
    rendering::{self, PLACE, RemarkKind, may_be_unknown, place_of, remark, turn},
    scan::UNKNOWN,
};
use handlebars::{
    BlockContext, BlockParams, Context, Handlebars, Helper, HelperDef, HelperResult, Output, PathAndJson,
    RenderContext, RenderError, Renderable, ScopedJson, no_escape,
};
use serde_json::Value;

/// What prints a variable; put in place of `{{x}}` when a template is compiled.
pub(crate) const PRINT: &str = "\u{1}print";
/// What counts a partial; put at its start.
pub(crate) const TURN: &str = "\u{1}turn";
/// Block helpers.
pub(crate) const BLOCKS: [&str; 4] = ["each", "if", "unless", "with"];

/// A registry with all helpers and nothing else.
pub(crate) fn registry() -> Handlebars<'static> {
    let mut registry = Handlebars::new();
    registry.set_strict_mode(true);
    registry.register_escape_fn(no_escape);
    for name in ["log", "lookup", "raw", "len", "eq", "ne", "gt", "gte", "lt", "lte", "and", "or", "not"] {
        registry.unregister_helper(name);
    }
    for function in FUNCTIONS {
        registry.register_helper(function.name, Box::new(Call(function)));
    }
    registry.register_helper("raw", Box::new(Raw));
    registry.register_helper("if", Box::new(Choice { wanted: true }));
    registry.register_helper("unless", Box::new(Choice { wanted: false }));
    registry.register_helper("each", Box::new(Each));
    registry.register_helper("with", Box::new(With));
    registry.register_helper(PRINT, Box::new(Print));
    registry.register_helper(TURN, Box::new(Turn));
    registry
}

/// Names that a template may call, for "did you mean".
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().map(|it| it.name).chain(BLOCKS)
}

fn unknown() -> Value {
    Value::String(UNKNOWN.to_string())
}

fn is_unknown(value: &Value) -> bool {
    value.as_str().is_some_and(|it| it.contains(UNKNOWN))
}

/// A parameter's value; one that is missing is complained about and unknown from there on.
fn present<'a>(helper: &Helper<'_>, param: &'a PathAndJson<'_>) -> Option<&'a Value> {
    if !param.is_value_missing() {
        return Some(param.value());
    }
    let path = param.relative_path().cloned().unwrap_or_default();
    if !may_be_unknown(&path) {
        remark(place_of(helper), RemarkKind::Missing(path));
    }
    None
}

fn write(text: &str, rc: &mut RenderContext<'_, '_>, out: &mut dyn Output) -> HelperResult {
    handlebars_write(text, rc, out)
}

/// As handlebars writes values: keeps the indentation of a partial.
fn handlebars_write(text: &str, rc: &mut RenderContext<'_, '_>, out: &mut dyn Output) -> HelperResult {
    if text.is_empty() {
        return Ok(());
    }
    rc.set_content_produced(true);
    out.write(text)?;
    let ends = text.ends_with('\n');
    rc.set_trailing_newline(ends);
    rc.set_indent_before_write(ends);
    Ok(())
}

fn print(
    helper: &Helper<'_>,
    path: &str,
    value: &Value,
    rc: &mut RenderContext<'_, '_>,
    out: &mut dyn Output,
) -> HelperResult {
    if let Some(text) = text_of(value) {
        write(&text, rc, out)
    } else {
        let kind = if value.is_array() { "a list" } else { "a mapping" };
        remark(place_of(helper), RemarkKind::NotText(path.to_owned(), kind));
        Ok(())
    }
}

struct Print;

impl HelperDef for Print {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        rc: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        let Some(param) = helper.param(0) else { return Ok(()) };
        let path = param.relative_path().cloned().unwrap_or_default();
        match present(helper, param) {
            Some(value) => print(helper, &path, value, rc, out),
            None => write(&UNKNOWN.to_string(), rc, out),
        }
    }
}

struct Turn;

impl HelperDef for Turn {
    fn call<'reg: 'rc, 'rc>(
        &self,
        _: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
        _: &mut dyn Output,
    ) -> HelperResult {
        turn()?;
        Ok(())
    }
}

struct Raw;

impl HelperDef for Raw {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        registry: &'reg Handlebars<'reg>,
        context: &'rc Context,
        rc: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        helper.template().map_or(Ok(()), |it| it.render(registry, context, rc, out))
    }
}

struct Call(&'static Function);

impl Call {
    fn value(&self, helper: &Helper<'_>) -> Value {
        let mut arguments = Vec::with_capacity(helper.params().len());
        let mut blank = false;
        for param in helper.params() {
            if self.0.forgiving {
                let absent = param.is_value_missing() || is_unknown(param.value());
                arguments.push(if absent { Value::Null } else { param.value().clone() });
                continue;
            }
            match present(helper, param) {
                Some(value) if is_unknown(value) => blank = true,
                Some(value) => arguments.push(value.clone()),
                None => blank = true,
            }
        }
        if let Some(name) = helper.hash().keys().find(|it| **it != PLACE) {
            let message = format!("has no argument `{name}=`");
            remark(place_of(helper), RemarkKind::Helper(self.0.name.to_owned(), message));
            return unknown();
        }
        if blank {
            return unknown();
        }
        self.0.call(&arguments).unwrap_or_else(|message| {
            remark(place_of(helper), RemarkKind::Helper(self.0.name.to_owned(), message));
            unknown()
        })
    }
}

impl HelperDef for Call {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        Ok(ScopedJson::Derived(self.value(helper)))
    }
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        rc: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        print(helper, self.0.name, &self.value(helper), rc, out)
    }
}

struct Choice {
    wanted: bool,
}

impl HelperDef for Choice {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        registry: &'reg Handlebars<'reg>,
        context: &'rc Context,
        rc: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        let Some(param) = helper.param(0) else {
            let message = "needs a condition".to_owned();
            remark(place_of(helper), RemarkKind::Helper(helper.name().to_owned(), message));
            return Ok(());
        };
        let holds = !is_unknown(param.value()) && truthy(param.value());
        let branch = if holds == self.wanted { helper.template() } else { helper.inverse() };
        branch.map_or(Ok(()), |it| it.render(registry, context, rc, out))
    }
}

fn block_of<'rc>(param: &PathAndJson<'rc>) -> BlockContext<'rc> {
    let mut block = BlockContext::new();
    match param.context_path() {
        Some(path) => block.base_path_mut().clone_from(path),
        None => block.set_base_value(param.value().clone()),
    }
    block
}

struct With;

impl HelperDef for With {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        registry: &'reg Handlebars<'reg>,
        context: &'rc Context,
        rc: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        let Some(param) = helper.param(0) else { return Ok(()) };
        if !truthy(param.value()) || is_unknown(param.value()) {
            return if let Some(inverse) = helper.inverse() {
                inverse.render(registry, context, rc, out)
            } else {
                present(helper, param);
                Ok(())
            };
        }
        let mut block = block_of(param);
        if let Some(name) = helper.block_param() {
            let mut params = BlockParams::new();
            match param.context_path() {
                Some(_) => params.add_path(name, Vec::new())?,
                None => params.add_value(name, param.value().clone())?,
            }
            block.set_block_params(params);
        }
        rc.push_block(block);
        let result = helper.template().map_or(Ok(()), |it| it.render(registry, context, rc, out));
        rc.pop_block();
        result
    }
}

struct Each;

impl Each {
    /// Sets what one turn sees: `this`, `@index`, `@key`, `@first`, `@last`, and names after `as`.
    fn enter<'rc>(
        block: &mut BlockContext<'rc>,
        helper: &Helper<'rc>,
        base: Option<&Vec<String>>,
        (index, count): (usize, usize),
        (key, value): (Value, &Value),
    ) -> Result<(), RenderError> {
        block.set_local_var("first", Value::Bool(index == 0));
        block.set_local_var("last", Value::Bool(index + 1 == count));
        block.set_local_var("index", Value::from(index));
        if key.is_string() {
            block.set_local_var("key", key.clone());
        }
        match base {
            Some(base) => {
                let step = text_of(&key).unwrap_or_default();
                *block.base_path_mut() = base.iter().cloned().chain([step]).collect();
            }
            None => block.set_base_value(value.clone()),
        }
        let names = helper.block_param().map(|it| (it, None));
        let names = names.or(helper.block_param_pair().map(|(value, key)| (value, Some(key))));
        let Some((value_name, key_name)) = names else { return Ok(()) };
        let mut params = BlockParams::new();
        match base {
            Some(_) => params.add_path(value_name, Vec::new())?,
            None => params.add_value(value_name, value.clone())?,
        }
        if let Some(name) = key_name {
            params.add_value(name, key)?;
        }
        block.set_block_params(params);
        Ok(())
    }
}

impl HelperDef for Each {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        registry: &'reg Handlebars<'reg>,
        context: &'rc Context,
        rc: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        let (Some(param), Some(template)) = (helper.param(0), helper.template()) else { return Ok(()) };
        let items: Vec<(Value, &Value)> = match param.value() {
            Value::Array(list) => list.iter().enumerate().map(|(at, it)| (Value::from(at), it)).collect(),
            Value::Object(map) => map.iter().map(|(key, it)| (Value::from(key.as_str()), it)).collect(),
            _ => Vec::new(),
        };
        if items.is_empty() {
            return if let Some(inverse) = helper.inverse() {
                inverse.render(registry, context, rc, out)
            } else {
                if let Some(value) = present(helper, param)
                    && !(value.is_array() || value.is_object() || value.is_null() || is_unknown(value))
                {
                    let message = "takes a list or a mapping".to_owned();
                    remark(place_of(helper), RemarkKind::Helper("each".to_owned(), message));
                }
                Ok(())
            };
        }
        rc.push_block(block_of(param));
        let count = items.len();
        for (index, item) in items.into_iter().enumerate() {
            rendering::turn()?;
            if let Some(block) = rc.block_mut() {
                Self::enter(block, helper, param.context_path(), (index, count), item)?;
            }
            template.render(registry, context, rc, out)?;
        }
        rc.pop_block();
        Ok(())
    }
}
