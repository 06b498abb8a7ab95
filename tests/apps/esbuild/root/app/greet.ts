export const unused = () => "dropped by tree shaking";
export function greet(name: string): string {
    const wide = name.normalize?.() ?? name;
    return `Hello, ${wide}!`;
}
