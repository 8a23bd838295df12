/** Where each endpoint is, below the issuer. */
export const ROUTES = {
  authorization: '/oauth2/authorize',
  token: '/oauth2/token',
  userinfo: '/oauth2/userinfo',
  jwks: '/oauth2/jwks',
  pushed_authorization_request: '/oauth2/par',
  device_authorization: '/oauth2/device',
  end_session: '/oauth2/session/end',
  // Typed by people.
  code_verification: '/device',
  // Ours, not the engine's; see introspect.ts and revoke.ts.
  introspection: '/oauth2/introspect',
  revocation: '/oauth2/revoke',
}
