"""What Alembic runs: the migrations, on the connection that `headrace.stores.database.open_database` opened."""

from alembic import context

from headrace.services.verification.tables import metadata

if hasattr(context, "config"):  # not when somebody else imports it
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=metadata,
        version_table="verification_version",
        render_as_batch=True,
    )
    with context.begin_transaction():
        context.run_migrations()
