/** The parameters that a pattern names, as types. */

/** Of one segment. A pattern that is not known when it compiles may name any. */
type Segment<S extends string> = string extends S
  ? Record<string, string | string[]>
  : S extends `[[...${infer Name}]]` | `[...${infer Name}]`
    ? Record<Name, string[]>
    : S extends `[${infer Name}]`
      ? Record<Name, string>
      : unknown;

type Segments<P extends string> = P extends `${infer First}/${infer Rest}`
  ? Segment<First> & Segments<Rest>
  : Segment<P>;

/**
 * The parameters of a pattern: `PathParams<'/docs/[lang]/[...rest]'>` is `{ lang: string; rest: string[] }`. The list of
 * `[[...rest]]` may be empty.
 */
export type PathParams<P extends string> = { readonly [Name in keyof Segments<P>]: Segments<P>[Name] };
