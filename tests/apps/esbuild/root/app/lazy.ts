export const lazy = (parts: TemplateStringsArray, ...values: unknown[]) =>
    parts.reduce((all, part, index) => all + part + (values[index] ?? ""), "");
