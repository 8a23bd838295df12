/** The only source of randomness in core. Production passes `crypto.randomBytes`. */
export type Random = (bytes: number) => Buffer
