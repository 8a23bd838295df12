# The server, ready for a read-only root file system: docs/guide/deploy.md says how to run it.
# Give a digest (node:24-slim@sha256:…) where two builds must be of the same base.
ARG NODE_IMAGE=node:24-slim

FROM ${NODE_IMAGE} AS app
WORKDIR /app
COPY package.json package-lock.json ./
COPY sdk/package.json sdk/
# Without the development dependencies nothing is left that has to run a script to be installed.
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund
COPY LICENSE ./
COPY bin bin
COPY sdk sdk
COPY src src
# Whatever the umask of the checkout was.
RUN chmod -R a+rX /app

FROM ${NODE_IMAGE}
# Nobody installs anything in a running server. Volumes take the mode of /data, like that of /tmp; in
# there the server makes a directory of its own, which nobody else can read.
RUN rm -rf /usr/local/lib/node_modules /usr/local/bin/npm /usr/local/bin/npx /usr/local/bin/corepack /opt/yarn* \
  && install -d -m 1777 /data
WORKDIR /app
COPY --from=app /app ./

# SQLite sorts in files when much is to be sorted, and /tmp may be read-only.
ENV NODE_ENV=production \
    MINTMARK_HOST=0.0.0.0 \
    MINTMARK_PORT=8080 \
    MINTMARK_DATA_DIR=/data/mintmark \
    SQLITE_TMPDIR=/data
# The user "node" of the base image, by number: Kubernetes checks runAsNonRoot against it.
USER 1000:1000
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=4s --start-period=60s --start-interval=1s --retries=3 \
  CMD ["node", "/app/bin/health.mjs"]
# No shell and no npm in between: signals reach the server, which drains.
ENTRYPOINT ["node", "/app/bin/mintmark.mjs"]
CMD ["serve"]
