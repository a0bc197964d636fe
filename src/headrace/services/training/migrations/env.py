"""Run by Alembic, with a connection that `headrace.stores.database` hands over."""

from alembic import context

VERSIONS = "training_version"
"""A table of its own, so that services may share a database."""

if hasattr(context, "config"):  # not when somebody else imports it
    context.configure(connection=context.config.attributes["connection"], version_table=VERSIONS)
    with context.begin_transaction():
        context.run_migrations()
