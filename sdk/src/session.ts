import type { CallOptions, ChangeOptions, Send } from './http.ts'
import type { Credentials, Me, Session } from './session-types.ts'

/** Login, logout and everything about oneself. */
export function session(send: Send) {
  return {
    /**
     * Opens a session; needs no token. Fails with `password_change_required` for a one-time
     * password: ask for a new one and send both.
     */
    login(credentials: Credentials, options: CallOptions = {}): Promise<Session> {
      return send({
        method: 'POST',
        path: '/login',
        body: credentials,
        withoutWait: true,
        ...options,
      })
    },

    /** Ends the session whose token this client uses. */
    logout(options: ChangeOptions = {}): Promise<void> {
      return send({ method: 'POST', path: '/logout', ...options })
    },

    /** Who am I, with which token, and what may it do. */
    me(options: CallOptions = {}): Promise<Me> {
      return send({ method: 'GET', path: '/me', repeatable: true, ...options })
    },

    /** Changes my password and ends my other logins. Needs a session's token. */
    changePassword(
      change: { currentPassword: string; newPassword: string },
      options: ChangeOptions = {},
    ): Promise<void> {
      return send({ method: 'POST', path: '/me/password', body: change, ...options })
    },
  }
}
