// JSON whose integers keep all their digits: a float would round a large ID, on the screen and in a patch.

const exact = (_, value, { source } = {}) => (typeof value === "number" && !Number.isSafeInteger(value) && /^-?\d+$/.test(source ?? "") ? BigInt(source) : value);

export const parse = (text) => JSON.parse(text, exact);

export const write = (value, indent) => JSON.stringify(value, (_, inner) => (typeof inner === "bigint" ? (JSON.rawJSON?.(String(inner)) ?? String(inner)) : inner), indent);
