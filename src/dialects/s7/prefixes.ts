/** The path compiled into the clients, and the one that a wrapper of theirs uses by default. */
export const PREFIXES = ['/api/auth/v1', '/api/auth/v2']
